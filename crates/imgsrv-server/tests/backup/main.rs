//! Backups with the real binary: a server is exported while it is in use, imported into catalogs and stores of other
//! kinds, and compared with the one that was exported. Exports and imports are killed meanwhile.

mod compare;
mod damage;
mod drill;
mod site;
