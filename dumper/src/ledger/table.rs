//! The ledger for people: a table.

use super::{Entry, Ledger, Totals};

impl Ledger {
    /// The ledger as a table for a terminal: one line a collection that has objects or could not be read, the sum, and what
    /// else was left out.
    pub fn table(&self) -> String {
        let header = ["KIND", "LISTED", "WRITTEN", "SKIPPED", "FAILED", "GRADE", "NOTE"].map(str::to_owned);
        let mut rows = vec![header];
        let by_filter = |entry: &Entry| entry.unread.as_ref().is_some_and(|unread| unread.by_filter);
        let shown = |entry: &&Entry| entry.totals.listed > 0 || entry.unread.is_some() && !by_filter(entry);
        rows.extend(self.kinds.iter().filter(shown).map(row));
        let Totals { listed, written, skipped, failed, .. } = self.totals;
        let sum =
            ["Total".to_owned(), listed.to_string(), written.to_string(), skipped.to_string(), failed.to_string()];
        let [name, listed, written, skipped, failed] = sum;
        rows.push([name, listed, written, skipped, failed, String::new(), String::new()]);
        let mut text = aligned(&rows);
        match self.kinds.iter().filter(|entry| by_filter(entry)).count() {
            0 => {}
            1 => text += "1 kind was left out by the filters\n",
            kinds => text += &format!("{kinds} kinds were left out by the filters\n"),
        }
        for group in &self.unavailable_groups {
            text += &format!("API group {} did not answer: {}\n", group.group_version, group.reason);
        }
        text
    }
}

fn row(entry: &Entry) -> [String; 7] {
    let reasons = entry.skipped_reasons.iter().map(|(reason, objects)| format!("{objects} skipped: {reason}"));
    let failures = entry.failed_reasons.iter().map(|(reason, objects)| format!("{objects} failed: {reason}"));
    let unread = entry.unread.iter().map(|unread| format!("not read: {}", unread.reason));
    let note = reasons.chain(failures).chain(unread).collect::<Vec<_>>().join("; ");
    let Totals { listed, written, skipped, failed, .. } = entry.totals;
    let grade = entry.grade.clone().unwrap_or_default();
    [entry.label(), listed.to_string(), written.to_string(), skipped.to_string(), failed.to_string(), grade, note]
}

/// Columns padded to their widest cell: text to the left, the four numbers to the right.
fn aligned(rows: &[[String; 7]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| match column {
                1..=4 => format!("{cell:>width$}", width = widths[column]),
                _ => format!("{cell:<width$}", width = widths[column]),
            })
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, ledger};

    #[test]
    fn the_table_names_every_reason_and_leaves_out_empty_collections() {
        let mut one = entry("Deployment");
        one.skipped("opted out");
        let (mut metrics, mut excluded) = (entry("Metrics"), entry("Excluded"));
        metrics.unread("its server is down", true);
        excluded.left_out("excluded");
        let table = ledger(vec![one, entry("Empty"), metrics, excluded]).table();
        for note in ["1 skipped: opted out", "not read: its server is down", "1 kind was left out by the filters"] {
            assert!(table.contains(note), "{table}");
        }
        assert!(!table.contains("Empty") && !table.contains("Excluded"), "{table}");
    }
}
