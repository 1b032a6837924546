//! A chart of the figures that matter most, in SVG, from the JSON that the benchmark has written.

use std::fmt::Write as _;

use serde_json::Value;

/// The groups of bars: a title, and the row of the table.
const GROUPS: [(&str, &str); 4] = [
    ("Cold start at 128 MB", "128 MB: cold (ms)"),
    ("CPU from the start to the first response", "CPU to first response (ms)"),
    ("CPU of a request, back to back", "warm CPU (ms)"),
    ("CPU of a request after a pause of 5 ms", "paused: set CPU (ms)"),
];
/// The bars of a group: the column of the table, a label, and a color. The function is measured with tokens that it has not
/// seen before.
const BARS: [(&str, &str, &str); 3] = [
    ("floor", "floor", "#b8bfca"),
    ("optimized floor", "floor, built for speed", "#7d8796"),
    ("ES256, new", "function", "#2563ad"),
];

const BAR: usize = 18;
const GROUP: usize = 34 + BARS.len() * (BAR + 4) + 14;
const LEFT: usize = 170;
const WIDTH: usize = 760;

/// Draws bars, each as long as its ratio to the longest of its group.
pub fn draw(table: &Value) -> String {
    let height = GROUPS.len() * GROUP + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (group, (title, row)) in GROUPS.into_iter().enumerate() {
        let values = BARS.map(|(column, ..)| table[row][column].as_f64().expect("the table is complete"));
        let longest = values.into_iter().fold(0.0, f64::max);
        let top = group * GROUP + 24;
        let _ = writeln!(svg, "<text x=\"10\" y=\"{top}\" font-weight=\"bold\">{title}</text>");
        for (index, ((_, label, color), value)) in BARS.into_iter().zip(values).enumerate() {
            let y = top + 10 + index * (BAR + 4);
            let length = value / longest * (WIDTH - LEFT - 170) as f64;
            let ratio = if index == 0 { String::new() } else { format!(", {:.2} of the floor", value / values[0]) };
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\n\
                 <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\n\
                 <text x=\"{:.1}\" y=\"{}\" font-size=\"12\">{value:.2} ms{ratio}</text>",
                LEFT - 8,
                y + 13,
                LEFT as f64 + length + 6.0,
                y + 13,
            );
        }
    }
    svg + "</svg>\n"
}
