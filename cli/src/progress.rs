//! Progress: bars where there is a terminal; where there is none, a line now and then for work of minutes, else silence.

use std::fmt::Write;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar for work whose end is not known: it counts.
pub fn counter(doing: &'static str, of_what: &str) -> ProgressBar {
    let template = format!("{{spinner}} {{msg}} {{human_pos}} {of_what}, {{rate}} a second");
    bar(ProgressBar::new_spinner(), doing, &template)
}

/// A bar over a number of bytes, with the rate and the time left.
pub fn bytes(doing: &'static str, length: u64) -> ProgressBar {
    bar(ProgressBar::new(length), doing, "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left")
}

/// Work over a number of bytes in which resources are counted, with the rate and the time left.
pub struct Resources {
    bar: ProgressBar,
    doing: &'static str,
    began: Instant,
    next_line: Instant,
}

impl Resources {
    /// Begins; there are so many bytes.
    pub fn begin(doing: &'static str, bytes: u64) -> Self {
        let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {prefix} resources/s, {eta} left";
        let now = Instant::now();
        Self { bar: bar(ProgressBar::new(bytes), doing, template), doing, began: now, next_line: now + LINE_EVERY }
    }

    /// Tells how far it is: so many bytes and resources of all.
    pub fn reached(&mut self, bytes: u64, resources: u64) {
        let rate = u128::from(resources) * 1_000 / self.began.elapsed().as_millis().max(1);
        let rate = HumanCount(u64::try_from(rate).unwrap_or(u64::MAX));
        self.bar.set_position(bytes);
        self.bar.set_prefix(rate.to_string());
        if self.bar.is_hidden() && Instant::now() >= self.next_line {
            let (of, left) = (HumanBytes(self.bar.length().unwrap_or(0)), HumanDuration(self.bar.eta()));
            let at = HumanBytes(bytes);
            // Whoever reads this may have seen enough; the work goes on.
            writeln!(io::stderr(), "{}: {at} of {of}, {rate} resources/s, {left} left", self.doing).ok();
            self.next_line = Instant::now() + LINE_EVERY;
        }
    }

    /// Writes a line of its own.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| writeln!(io::stderr(), "{line}").ok());
    }

    /// Ends it.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
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
