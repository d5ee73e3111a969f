//! Tables for people.

use std::{array, iter};

/// Columns that a table leaves to a cell, at least.
const MIN_CELL: usize = 8;
/// The head of a column whose cells are typed in other commands.
const ID: &str = "ID";

/// A table whose columns are as wide as their widest cell. If that is wider than `max`, the widest cells are cut; ids and
/// the first column are not.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    max: Option<usize>,
) -> String {
    let lines: Vec<[String; N]> = iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widest = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let mut widths: [usize; N] = array::from_fn(widest);
    if let Some(max) = max {
        shrink(&mut widths, head, max);
    }
    let line = |cells: &[String; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{:<width$}", cut(cell, width)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

fn shrink<const N: usize>(widths: &mut [usize; N], head: [&str; N], max: usize) {
    let gaps = 2 * widths.len().saturating_sub(1);
    let is_fixed: Vec<bool> = head.iter().enumerate().map(|(at, name)| at == 0 || *name == ID).collect();
    loop {
        let total = widths.iter().sum::<usize>() + gaps;
        let cells = widths.iter_mut().zip(&is_fixed).filter(|(width, is_fixed)| **width > MIN_CELL && !**is_fixed);
        let Some((widest, _)) = cells.max().filter(|_| total > max) else { return };
        *widest -= 1;
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(first: &str, second: &str) -> [String; 2] {
        [first.to_owned(), second.to_owned()]
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(table(["NAME", "V"], [cells("debian", "1"), cells("x", "")], None), "NAME    V\ndebian  1\nx\n");
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let long = "a description that does not fit beside its name";
        let fitted = table(["NAME", "DESCRIPTION"], [cells("debian", long)], Some(30));
        assert_eq!(fitted, "NAME    DESCRIPTION\ndebian  a description that do…\n");
        let id = "0198c0de-0000-7000-8000-000000000000";
        assert!(table(["NAME", "ID"], [cells("debian", id)], Some(30)).contains(id), "ids are not cut");
    }
}
