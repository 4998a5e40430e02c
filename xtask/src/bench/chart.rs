//! Pictures of a run as SVG: bars for servers, lines for what grows. They follow the reader's choice of light or dark.

use super::measures::Measure;
use super::results::{Medians, Results};
use super::servers::find;

const WIDTH: f64 = 760.0;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}.quiet{fill:#666}line{stroke:#bbb}\
    @media(prefers-color-scheme:dark){text{fill:#ddd}.quiet{fill:#999}line{stroke:#555}}";

/// A picture, by the name of its file.
pub(crate) type Picture = (&'static str, String);

/// A picture for each measure that has one and of which something was measured.
pub(crate) fn all(results: &Results) -> Vec<Picture> {
    let bars: [(&str, Measure, &str, Value); 3] = [
        (
            "rate",
            Measure::Rate,
            "µs CPU a delivery, 20,000 deliveries/s (shorter is better)",
            |row| row.cpu,
        ),
        (
            "sat",
            Measure::Saturated,
            "deliveries/s at saturation (longer is better)",
            |row| row.per_second,
        ),
        (
            "idle",
            Measure::Idle,
            "KiB of memory an idle subscriber (shorter is better)",
            |row| row.kib_per_client,
        ),
    ];
    let lines = [
        (
            "clients",
            Measure::Clients,
            "µs CPU a delivery, by subscribers",
        ),
        (
            "channels",
            Measure::Channels,
            "µs CPU a delivery, by channels",
        ),
        (
            "size",
            Measure::Size,
            "µs CPU a delivery, by bytes of a message",
        ),
    ];
    let bars = bars
        .into_iter()
        .filter_map(|(name, measure, title, value)| {
            Some((name, bar_chart(results, measure, title, value)?))
        });
    let lines = lines
        .into_iter()
        .filter_map(|(name, measure, title)| Some((name, line_chart(results, measure, title)?)));
    bars.chain(lines).collect()
}

type Value = fn(&Medians) -> Option<f64>;

fn bar_chart(results: &Results, measure: Measure, title: &str, value: Value) -> Option<String> {
    const LABELS: f64 = 390.0;
    const ROW: f64 = 26.0;
    let mut bars: Vec<(&str, f64)> = measure
        .servers()
        .iter()
        .filter_map(|key| {
            let medians = results.medians(measure, 0, key)?;
            Some((*key, value(&medians)?))
        })
        .collect();
    bars.sort_by(|a, b| a.1.total_cmp(&b.1));
    let most = bars.last()?.1.max(f64::MIN_POSITIVE);
    let mut body = String::new();
    let mut y = 40.0;
    for (key, value) in &bars {
        let width = (WIDTH - LABELS - 90.0) * value / most;
        let colour = colour(key);
        body += &format!(
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABELS:.0}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>\
             <text class=\"quiet\" x=\"{:.1}\" y=\"{:.0}\">{}</text>\n",
            LABELS - 8.0,
            y + 14.0,
            name(key),
            LABELS + width + 6.0,
            y + 14.0,
            short(*value),
        );
        y += ROW;
    }
    Some(picture(title, y + 8.0, &body))
}

fn line_chart(results: &Results, measure: Measure, title: &str) -> Option<String> {
    const LEFT: f64 = 60.0;
    const RIGHT: f64 = WIDTH - 20.0;
    const TOP: f64 = 60.0;
    const BOTTOM: f64 = 320.0;
    let points = results.points(measure);
    let curves: Vec<(&str, Vec<(usize, f64)>)> = measure
        .servers()
        .iter()
        .map(|key| {
            let cpu = |point: &usize| Some((*point, results.medians(measure, *point, key)?.cpu?));
            (*key, points.iter().filter_map(cpu).collect::<Vec<_>>())
        })
        .filter(|(_, curve)| !curve.is_empty())
        .collect();
    let most = curves
        .iter()
        .flat_map(|(_, curve)| curve)
        .map(|(_, cpu)| *cpu)
        .fold(0.0, f64::max);
    let step = round_step(most / 4.0);
    let most = (most / step).ceil() * step;
    let (first, last) = (*points.first()? as f64, *points.last()? as f64);
    let x = |point: usize| {
        LEFT + (RIGHT - LEFT) * ((point as f64 / first).ln() / (last / first).ln().max(0.1))
    };
    let y = |cpu: f64| BOTTOM - (BOTTOM - TOP) * cpu / most.max(f64::MIN_POSITIVE);
    let mut body = String::new();
    let mut cpu = 0.0;
    while cpu <= most {
        body += &format!(
            "<line x1=\"{LEFT:.0}\" x2=\"{RIGHT:.0}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>\
             <text class=\"quiet\" x=\"{1:.0}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>\n",
            y(cpu),
            LEFT - 8.0,
            y(cpu) + 4.0,
            short(cpu),
        );
        cpu += step;
    }
    for point in &points {
        body += &format!(
            "<text class=\"quiet\" x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{point}</text>\n",
            x(*point),
            BOTTOM + 20.0
        );
    }
    let mut legend = BOTTOM + 46.0;
    for (key, curve) in &curves {
        let colour = colour(key);
        let path: Vec<String> = curve
            .iter()
            .map(|(point, cpu)| format!("{:.1},{:.1}", x(*point), y(*cpu)))
            .collect();
        body += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>\
             <rect x=\"{LEFT:.0}\" y=\"{:.0}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{legend:.0}\">{}</text>\n",
            path.join(" "),
            legend - 7.0,
            LEFT + 22.0,
            name(key),
        );
        legend += 20.0;
    }
    Some(picture(title, legend, &body))
}

fn picture(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\">\
         <title>{title}</title><style>{STYLE}</style>\n<text x=\"8\" y=\"20\">{title}</text>\n{body}</svg>\n"
    )
}

/// The same for a server in each picture.
fn colour(key: &str) -> &'static str {
    match key {
        "ws" => "#1c7ed6",
        "sockjs" => "#2b8a3e",
        _ if key.starts_with("updraft") => "#d9480f",
        _ if key.starts_with("limit") => "#868e96",
        _ => "#9c36b5",
    }
}

/// The least of 1, 2, 5, 10, 20, 50, … that is no less than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(0.01).log10().floor());
    let rounded = [1.0, 2.0, 5.0].map(|factor| factor * power);
    rounded
        .into_iter()
        .find(|rounded| *rounded >= step)
        .unwrap_or(10.0 * power)
}

/// A server's name without Markdown.
fn name(key: &str) -> String {
    find(key)
        .map_or(key, |server| server.name)
        .replace(['*', '`'], "")
}

fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{:.2} M", value / 1e6),
        1e4.. => format!("{:.0} k", value / 1e3),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        let steps = [0.0, 1.0, 1.1, 4.9, 5.1, 23.0].map(round_step);
        assert_eq!(steps, [0.01, 1.0, 2.0, 5.0, 10.0, 50.0]);
    }
}
