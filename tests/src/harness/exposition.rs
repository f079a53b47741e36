//! What a program says at `/metrics`, in the text format of Prometheus.

/// A line: the name of its metric, and its labels with their values.
pub struct Series<'a> {
    /// The name; of a histogram, with the suffix of the line.
    pub name: &'a str,
    /// In the order of the line.
    pub labels: Vec<(&'a str, &'a str)>,
}

/// What an admin port says.
pub async fn metrics(admin_port: u16) -> String {
    let answer = reqwest::get(format!("http://127.0.0.1:{admin_port}/metrics")).await.expect("it serves metrics");
    answer.text().await.expect("metrics are text")
}

/// The series of a text. None of our labels has a quotation mark in it.
pub fn series(text: &str) -> impl Iterator<Item = Series<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, _) = line.rsplit_once(' ').expect("a line is a series and its value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_end_matches('"').split_once("=\"").expect("a label has a value"));
        Series { name, labels: labels.collect() }
    })
}
