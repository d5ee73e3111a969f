//! Operating systems that images have, and how their projects write their names.

/// Names on the command line and in catalogs, and names for people.
const SYSTEMS: &[(&str, &str)] = &[
    ("linux", "Linux"),
    ("almalinux", "AlmaLinux"),
    ("alpine", "Alpine"),
    ("alt", "ALT"),
    ("amazonlinux", "Amazon Linux"),
    ("archlinux", "Arch Linux"),
    ("bottlerocket", "Bottlerocket"),
    ("buildroot", "Buildroot"),
    ("busybox", "BusyBox"),
    ("centos", "CentOS"),
    ("cirros", "CirrOS"),
    ("coreos", "CoreOS"),
    ("debian", "Debian"),
    ("devuan", "Devuan"),
    ("fedora", "Fedora"),
    ("flatcar", "Flatcar"),
    ("freebsd", "FreeBSD"),
    ("funtoo", "Funtoo"),
    ("gentoo", "Gentoo"),
    ("guix", "Guix"),
    ("haiku", "Haiku"),
    ("homeassistant", "Home Assistant"),
    ("illumos", "illumos"),
    ("kali", "Kali"),
    ("macos", "macOS"),
    ("mint", "Linux Mint"),
    ("netbsd", "NetBSD"),
    ("nixos", "NixOS"),
    ("openbsd", "OpenBSD"),
    ("openeuler", "openEuler"),
    ("opensuse", "openSUSE"),
    ("openwrt", "OpenWrt"),
    ("opnsense", "OPNsense"),
    ("oracle", "Oracle"),
    ("pfsense", "pfSense"),
    ("photon", "Photon"),
    ("proxmox", "Proxmox"),
    ("rhel", "RHEL"),
    ("rockylinux", "Rocky Linux"),
    ("scientific", "Scientific Linux"),
    ("slackware", "Slackware"),
    ("sles", "SLES"),
    ("springdalelinux", "Springdale Linux"),
    ("talos", "Talos"),
    ("truenas", "TrueNAS"),
    ("ubuntu", "Ubuntu"),
    ("void", "Void Linux"),
    ("voidlinux", "Void Linux"),
    ("vyos", "VyOS"),
    ("windows", "Windows"),
    ("yocto", "Yocto"),
];

/// The name for people of a known operating system, in any case of letters; `None` for an unknown one.
pub(crate) fn display_name(os: &str) -> Option<&'static str> {
    let known = SYSTEMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(os));
    known.map(|(_, display_name)| *display_name)
}

/// The known operating systems, for messages.
pub(crate) fn names() -> String {
    SYSTEMS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
