//! How a cost grows with the size of what is asked for: samples at several sizes, as a table and as a picture.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use serde::Serialize;

use crate::table::{Row, number};

/// What a unit may cost at ten times the size, by what it costs at the size.
const LIMIT: f64 = 1.2;

/// The pixels of one panel of the picture.
const PANEL: (u32, u32) = (480, 300);

/// What one unit costs at each size.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Growth {
    pub(crate) title: String,
    /// Of the costs: `us of CPU for a poem`.
    pub(crate) unit: String,
    /// What there is more of: `clients at once`.
    pub(crate) of: String,
    points: Vec<Point>,
}

#[derive(Debug, Clone, Serialize)]
struct Point {
    size: f64,
    #[serde(flatten)]
    row: Row,
}

impl Growth {
    pub(crate) fn new(title: &str, unit: &str, of: &str) -> Self {
        Self {
            title: title.to_owned(),
            unit: unit.to_owned(),
            of: of.to_owned(),
            points: Vec::new(),
        }
    }

    /// One more sample of what a unit costs; sizes come in ascending order.
    pub(crate) fn add(&mut self, size: f64, cost: f64) {
        match self.points.iter_mut().find(|point| point.size == size) {
            Some(point) => point.row.samples.push(cost),
            None => self.points.push(Point {
                size,
                row: Row {
                    who: size.to_string(),
                    samples: vec![cost],
                },
            }),
        }
    }

    /// What a unit costs at a size, by what it costs at a tenth of it.
    fn ratio(&self, point: &Point) -> Option<f64> {
        let is_tenth = |other: &&Point| (other.size * 10.0 / point.size - 1.0).abs() < 0.01;
        let tenth = self.points.iter().find(is_tenth)?;
        Some(point.row.median() / tenth.row.median())
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "### Growth: {}\n\n{}, less is better\n\n",
            self.title, self.unit
        );
        let _ = writeln!(
            text,
            "| {} | median | least | most | to a tenth of it |\n| ---: | ---: | ---: | ---: | ---: |",
            self.of
        );
        for point in &self.points {
            let (least, most) = point.row.spread();
            let ratio = self.ratio(point).map_or(String::new(), |ratio| {
                let mark = if ratio > LIMIT { " (!)" } else { "" };
                format!("{ratio:.2}{mark}")
            });
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {ratio} |",
                point.row.who,
                number(point.row.median()),
                number(least),
                number(most)
            );
        }
        text
    }
}

/// A panel for each, two in a row: sizes from left to right by powers of ten, costs from nothing upwards.
pub(crate) fn draw(growths: &[Growth], path: &Path) -> Result<()> {
    let rows = growths.len().div_ceil(2);
    let size = (PANEL.0 * 2, PANEL.1 * u32::try_from(rows)?);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE).map_err(told)?;
    for (growth, panel) in growths.iter().zip(root.split_evenly((rows, 2))) {
        draw_one(growth, &panel)?;
    }
    root.present().map_err(told)
}

fn draw_one(
    growth: &Growth,
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> Result<()> {
    let [first, .., last] = &growth.points[..] else {
        return Ok(());
    };
    let most = growth
        .points
        .iter()
        .map(|point| point.row.spread().1)
        .fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(&growth.title, ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (first.size * 0.8..last.size * 1.25).log_scale(),
            0.0..most * 1.15,
        )
        .map_err(told)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(&growth.of)
        .y_desc(&growth.unit)
        .axis_desc_style(("sans-serif", 12))
        .x_label_formatter(&f64::to_string)
        .y_label_formatter(&f64::to_string)
        .draw()
        .map_err(told)?;
    let median = |point: &Point| (point.size, point.row.median());
    chart
        .draw_series(growth.points.iter().map(|point| {
            let (least, most) = point.row.spread();
            PathElement::new(
                vec![(point.size, least), (point.size, most)],
                BLACK.mix(0.4),
            )
        }))
        .map_err(told)?;
    let line = LineSeries::new(growth.points.iter().map(median), BLUE.stroke_width(2));
    chart.draw_series(line.point_size(3)).map_err(told)?;
    Ok(())
}

fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_compared_with_one_at_a_tenth_of_the_size() {
        let mut growth = Growth::new("poems", "us", "clients");
        for (size, cost) in [
            (16.0, 10.0),
            (16.0, 12.0),
            (16.0, 11.0),
            (50.0, 12.0),
            (160.0, 22.0),
        ] {
            growth.add(size, cost);
        }
        assert_eq!(
            growth.markdown(),
            "### Growth: poems\n\nus, less is better\n\n| clients | median | least | most | to a tenth of it |\n\
             | ---: | ---: | ---: | ---: | ---: |\n| 16 | 11.0 | 10.0 | 12.0 |  |\n| 50 | 12.0 | 12.0 | 12.0 |  |\n\
             | 160 | 22.0 | 22.0 | 22.0 | 2.00 (!) |\n"
        );
    }
}
