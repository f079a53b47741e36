//! Progress bars; where there is no terminal they stay silent.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// A bar for work whose end is not known: it counts.
pub fn counter(doing: &'static str, of_what: &str) -> ProgressBar {
    let template = format!("{{spinner}} {{msg}} {{human_pos}} {of_what}, {{rate}} a second");
    bar(ProgressBar::new_spinner(), doing, &template)
}

/// A bar over a number of bytes, with the rate and the time left.
pub fn bytes(doing: &'static str, length: u64) -> ProgressBar {
    bar(ProgressBar::new(length), doing, "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left")
}

/// A bar in percent.
pub fn percent(doing: &'static str) -> ProgressBar {
    bar(ProgressBar::new(100), doing, "{msg} {wide_bar} {pos}% {prefix}")
}

fn bar(bar: ProgressBar, doing: &'static str, template: &str) -> ProgressBar {
    let rate = |state: &ProgressState, out: &mut dyn Write| write!(out, "{:.0}", state.per_sec()).unwrap_or_default();
    let style = ProgressStyle::with_template(template).expect("the templates of this file are well formed");
    let style = style.with_key("rate", rate);
    let bar = bar.with_style(style).with_message(doing);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
