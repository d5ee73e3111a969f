//! Tables for people.

use super::wrap::broken;

/// Columns of the terminal that a table leaves to a cell, at least.
const MIN_CELL: usize = 8;
/// The length of `2026-11-28 10:15`, without the time zone.
const MINUTE: usize = 16;
/// The length of `2026-11-28`.
const DAY: usize = 10;

/// What happens to a column in a table that is wider than the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Narrow {
    /// Nothing: its cells are typed in other commands.
    Keep,
    /// Its cells are cut.
    Cut,
    /// Its cells are broken into lines.
    Wrap,
    /// Its times lose their time zone, which is always UTC.
    Time,
    /// The same, and then their hours and minutes.
    Day,
    /// It is left out.
    Drop,
    /// Its cells get lines of their own below their row: they are long, and copied.
    Below,
}

/// A column: its head, and what happens to it where space is short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column(&'static str, Narrow);

impl Column {
    /// A column whose cells are cut.
    pub(crate) const fn cut(head: &'static str) -> Self {
        Self(head, Narrow::Cut)
    }

    /// A column of names to type.
    pub(crate) const fn name(head: &'static str) -> Self {
        Self(head, Narrow::Keep)
    }

    /// A column of sentences or lists, broken into lines.
    pub(crate) const fn text(head: &'static str) -> Self {
        Self(head, Narrow::Wrap)
    }

    /// A column of times.
    pub(crate) const fn time(head: &'static str) -> Self {
        Self(head, Narrow::Time)
    }

    /// A column of times whose day says enough.
    pub(crate) const fn day(head: &'static str) -> Self {
        Self(head, Narrow::Day)
    }

    /// A column that matters least.
    pub(crate) const fn least(head: &'static str) -> Self {
        Self(head, Narrow::Drop)
    }

    /// A column of ids, digests and the like, which are copied.
    pub(crate) const fn id(head: &'static str) -> Self {
        Self(head, Narrow::Below)
    }
}

/// A column of a table as it is printed.
#[derive(Debug, Clone, Copy)]
struct Shown {
    at: usize,
    width: usize,
    narrow: Narrow,
}

/// A table whose columns are as wide as their widest cell. If that is wider than `max`, columns yield in this order: empty ones
/// are left out, times become shorter, columns that matter least are left out, ids get lines of their own, and the widest cells
/// are cut or broken.
pub(crate) fn table<const N: usize>(
    head: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
    max: Option<usize>,
) -> String {
    let heads = head.map(|Column(name, _)| name.to_owned());
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    let widest = |at: usize| {
        let cells = rows.iter().chain([&heads]).map(|row| row[at].chars().count());
        cells.max().unwrap_or(0)
    };
    let column = |(at, Column(_, narrow)): (usize, Column)| Shown { at, width: widest(at), narrow };
    let mut columns: Vec<Shown> = head.into_iter().enumerate().map(column).collect();
    let mut below = Vec::new();
    if let Some(max) = max {
        let is_empty = |at: usize| rows.iter().all(|row| row[at].is_empty());
        below = fit(&mut columns, max, is_empty);
    }
    let row = |cells: &[String; N]| {
        let ids = below.iter().map(|at: &usize| &cells[*at]).filter(|cell| !cell.is_empty());
        let ids = ids.map(|cell| format!("  {cell}\n"));
        lines(cells, &columns) + &ids.collect::<String>()
    };
    [&heads].into_iter().chain(&rows).map(row).collect()
}

/// Makes columns fit; returns those whose cells are printed below their rows.
fn fit(columns: &mut Vec<Shown>, max: usize, is_empty: impl Fn(usize) -> bool) -> Vec<usize> {
    let is_wide = |columns: &[Shown]| {
        columns.iter().map(|column| column.width).sum::<usize>() + 2 * columns.len().saturating_sub(1) > max
    };
    let mut below = Vec::new();
    if is_wide(columns) {
        columns.retain(|column| !is_empty(column.at));
    }
    let shorten = |columns: &mut [Shown], kinds: &[Narrow], to: usize| {
        for column in columns.iter_mut().filter(|column| kinds.contains(&column.narrow)) {
            column.width = column.width.min(to);
        }
    };
    if is_wide(columns) {
        shorten(columns, &[Narrow::Time, Narrow::Day], MINUTE);
    }
    while is_wide(columns)
        && let Some(least) = columns.iter().rposition(|column| column.narrow == Narrow::Drop)
    {
        columns.remove(least);
    }
    if is_wide(columns) {
        shorten(columns, &[Narrow::Day], DAY);
    }
    if is_wide(columns) && columns.len() > 1 {
        below = columns.iter().filter(|column| column.narrow == Narrow::Below).map(|column| column.at).collect();
        columns.retain(|column| column.narrow != Narrow::Below);
    }
    while is_wide(columns) {
        let is_flexible =
            |column: &&mut Shown| column.width > MIN_CELL && matches!(column.narrow, Narrow::Cut | Narrow::Wrap);
        let Some(widest) = columns.iter_mut().filter(is_flexible).max_by_key(|column| column.width) else { break };
        widest.width -= 1;
    }
    below
}

/// The lines of a row.
fn lines(cells: &[String], columns: &[Shown]) -> String {
    let cell = |column: &Shown| {
        let text = &cells[column.at];
        match column.narrow {
            Narrow::Wrap => broken(text, column.width),
            Narrow::Time | Narrow::Day => vec![text.chars().take(column.width).collect::<String>()],
            _ => vec![cut(text, column.width)],
        }
    };
    let cells: Vec<(usize, Vec<String>)> = columns.iter().map(|column| (column.width, cell(column))).collect();
    let height = cells.iter().map(|(_, lines)| lines.len()).max().unwrap_or(0);
    let line = |at: usize| {
        let text = |(width, lines): &(usize, Vec<String>)| {
            format!("{:<width$}", lines.get(at).map_or("", String::as_str), width = *width)
        };
        cells.iter().map(text).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
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

    const ID: &str = "0198c0de-0000-7000-8000-000000000000";

    fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let head = [Column::name("NAME"), Column::cut("V")];
        assert_eq!(table(head, [row(["debian", "1"]), row(["x", ""])], None), "NAME    V\ndebian  1\nx\n");
    }

    #[test]
    fn long_cells_are_cut_or_broken() {
        let rows = [row(["debian", "a description that does not fit beside its name"])];
        let head = [Column::name("NAME"), Column::cut("DESCRIPTION")];
        assert_eq!(table(head, rows.clone(), Some(30)), "NAME    DESCRIPTION\ndebian  a description that do…\n");
        let head = [Column::name("NAME"), Column::text("DESCRIPTION")];
        assert_eq!(
            table(head, rows, Some(30)),
            "NAME    DESCRIPTION\ndebian  a description that\n        does not fit beside\n        its name\n"
        );
    }

    #[test]
    fn ids_get_lines_of_their_own_before_other_cells_are_cut() {
        let head = [Column::id("ID"), Column::name("VERSION"), Column::time("SINCE"), Column::text("REASON")];
        let rows = [row([ID, "debian:12", "2026-11-28 10:15 UTC", "the disk is full"])];
        let narrow = table(head, rows.clone(), Some(60));
        assert_eq!(
            narrow,
            format!(
                "VERSION    SINCE             REASON\n  ID\ndebian:12  2026-11-28 10:15  the disk is full\n  {ID}\n"
            )
        );
        assert!(table(head, rows, Some(100)).starts_with("ID  "));
    }

    #[test]
    fn empty_columns_and_those_that_matter_least_are_left_out() {
        let head = [Column::name("NAME"), Column::cut("ROLES"), Column::day("REVOKED"), Column::least("ID")];
        let rows = [row(["ci", "content-writer", "", ID])];
        assert_eq!(
            table(head, rows.clone(), Some(58)),
            format!("NAME  ROLES           ID\nci    content-writer  {ID}\n")
        );
        assert_eq!(table(head, rows, Some(30)), "NAME  ROLES\nci    content-writer\n");
    }

    #[test]
    fn times_lose_their_hours_only_where_the_day_says_enough() {
        let at = "2026-11-28 10:15 UTC";
        let head = [Column::time("SEEN"), Column::day("EXPIRES")];
        assert_eq!(table(head, [row([at, at])], Some(30)), "SEEN              EXPIRES\n2026-11-28 10:15  2026-11-28\n");
    }
}
