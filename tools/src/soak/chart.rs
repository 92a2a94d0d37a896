//! Lines over time as a picture (SVG): panels below each other, each with its own scale from zero up.

use std::fmt::Write as _;

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is drawn, with its unit.
    pub title: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line: a value for each step, all steps being equally long.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its values.
    pub values: Vec<f64>,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const GAP: f64 = 26.0;
const COLORS: [&str; 4] = ["#0b6e99", "#c05621", "#2f855a", "#805ad5"];

/// The panels as a picture, with a heading; a step takes so many seconds.
pub fn draw(heading: &str, panels: &[Panel], step_seconds: u32) -> String {
    let height = panels.iter().fold(60.0, |height, _| height + TOP + HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        LEFT + WIDTH + RIGHT
    );
    text(&mut svg, LEFT, 26.0, "start", "16", heading);
    let mut top = 40.0;
    for panel in panels {
        top += TOP;
        panel.draw(&mut svg, top, step_seconds);
        top += HEIGHT + GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String, top: f64, step_seconds: u32) {
        let all = self.lines.iter().flat_map(|line| &line.values);
        let highest = nice_above(all.fold(0.0, |highest: f64, value| highest.max(*value)));
        let steps = self.lines.iter().map(|line| line.values.len()).max().unwrap_or_default();
        text(svg, LEFT, top - 8.0, "start", "13", &self.title);
        for part in 0..=4 {
            let part = f64::from(part) / 4.0;
            let y = top + HEIGHT * (1.0 - part);
            line(svg, (LEFT, y), (LEFT + WIDTH, y));
            text(svg, LEFT - 6.0, y + 4.0, "end", "11", &number(highest * part));
        }
        let minutes = f64::from(step_seconds) * as_f64(steps) / 60.0;
        text(svg, LEFT, top + HEIGHT + 15.0, "start", "11", "0");
        let end = format!("{} min", number(minutes));
        text(svg, LEFT + WIDTH, top + HEIGHT + 15.0, "end", "11", &end);
        for (at, drawn) in self.lines.iter().enumerate() {
            let color = COLORS[at % COLORS.len()];
            let mut points = String::new();
            for (step, value) in drawn.values.iter().enumerate() {
                let x = LEFT + WIDTH * (as_f64(step) + 0.5) / as_f64(steps);
                let y = top + HEIGHT * (1.0 - value / highest);
                write!(points, "{x:.1},{y:.1} ").expect("writing to a string does not fail");
            }
            writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" points=\"{}\"/>",
                points.trim_end()
            )
            .expect("writing to a string does not fail");
            let y = top + 12.0 + 16.0 * as_f64(at);
            writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{y:.0}\" fill=\"{color}\">{}</text>",
                LEFT + WIDTH + 10.0,
                escaped(&drawn.name)
            )
            .expect("writing to a string does not fail");
        }
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: &str, said: &str) {
    let said = escaped(said);
    writeln!(
        svg,
        "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{said}</text>"
    )
    .expect("writing to a string does not fail");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    writeln!(
        svg,
        "<line x1=\"{:.0}\" y1=\"{:.1}\" x2=\"{:.0}\" y2=\"{:.1}\" stroke=\"#dddddd\"/>",
        from.0, from.1, to.0, to.1
    )
    .expect("writing to a string does not fail");
}

fn escaped(said: &str) -> String {
    said.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A round number at or above a value: 1, 2, 4 or 8 times a power of ten.
fn nice_above(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0]
        .into_iter()
        .map(|times| times * power)
        .find(|nice| *nice >= value)
        .unwrap_or(10.0 * power)
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        for (value, nice) in [(0.9, 1.0), (1.0, 1.0), (3.0, 4.0), (130.0, 200.0), (9.0, 10.0), (0.03, 0.04)] {
            assert!((nice_above(value) - nice).abs() < nice * 1e-9, "{value}: {}", nice_above(value));
        }
        assert!(nice_above(0.0) > 0.0, "nothing is divided by zero");
    }

    #[test]
    fn a_line_has_a_point_for_each_value_and_names_are_escaped() {
        let line = Line { name: "a < b".to_owned(), values: vec![1.0, 2.0, 4.0] };
        let panel = Panel { title: "things".to_owned(), lines: vec![line] };
        let svg = draw("heading", &[panel], 10);
        let points = svg.lines().find_map(|line| line.split("points=\"").nth(1)).unwrap();
        assert_eq!(points.split(' ').count(), 3, "{points}");
        assert!(svg.contains("a &lt; b") && svg.contains("0.5 min"), "{svg}");
        assert!(points.contains(&format!(",{:.1}", 40.0 + TOP)), "the highest value is at the top: {points}");
    }
}
