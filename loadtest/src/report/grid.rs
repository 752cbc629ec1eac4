//! A table of words: the same cells aligned on a terminal and marked up in a page.

use super::words::{escape, plain};

/// Rows under one heading. The first column is a name and stands left, the others are figures and stand right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// An empty one with these headings.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row; a missing cell is empty, one too many is left out.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().take(self.head.len()).collect();
        row.resize(self.head.len(), String::new());
        self.rows.push(row);
    }

    /// Nothing to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Aligned by spaces, one line a row, indented by two.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<Vec<String>> = std::iter::once(&self.head)
            .chain(&self.rows)
            .map(|row| row.iter().map(|cell| plain(cell)).collect())
            .collect();
        let width = |column: usize| lines.iter().map(|row: &Vec<String>| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..self.head.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &lines {
            let mut line = String::from(" ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padded =
                    if column == 0 { format!(" {cell:<width$}") } else { format!("  {cell:>width$}") };
                line.push_str(&padded);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// As a `<table>`; `caption` is escaped too. It scrolls by itself where a phone is too narrow for it.
    pub(crate) fn html(&self, caption: &str) -> String {
        let mut html = format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}</caption><thead><tr>",
            escape(caption)
        );
        for cell in &self.head {
            html.push_str(&format!("<th scope=\"col\">{}</th>", escape(cell)));
        }
        html.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            html.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                let marked = if column == 0 {
                    format!("<th scope=\"row\">{cell}</th>")
                } else {
                    format!("<td>{cell}</td>")
                };
                html.push_str(&marked);
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(&["what", "count"]);
        grid.row(["short".into(), "1".into()]);
        grid.row(["é\u{1b}<b>".into(), "1,000".into(), "too many".into()]);
        grid.row(["none".into()]);
        grid
    }

    #[test]
    fn columns_line_up_on_a_terminal_whatever_is_in_a_cell() {
        assert_eq!(grid().text(), "  what   count\n  short      1\n  é\u{fffd}<b>  1,000\n  none\n");
    }

    #[test]
    fn cells_and_captions_are_escaped_in_a_page() {
        let html = grid().html("a \"caption\"");
        assert!(html.contains("é\u{fffd}&lt;b&gt;") && html.contains("a &quot;caption&quot;"), "{html}");
        assert!(!html.contains("<b>") && !html.contains("too many"));
    }
}
