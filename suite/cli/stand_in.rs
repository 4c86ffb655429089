//! Until report::{console, html, progress} land.
#![allow(missing_docs)]
pub mod console {
    use crate::report::model::{CheckResult, Results};
    #[derive(Clone, Copy)]
    pub struct Style {
        pub color: bool,
        pub width: u16,
    }
    pub fn status_line(c: &CheckResult, done: usize, total: usize, _: Style) -> String {
        format!(
            "{:>14} [{:>8.3}s] ({done:>3}/{total:>3}) {} {}",
            c.outcome.as_str(),
            c.seconds,
            c.id,
            c.message.clone().unwrap_or_default()
        )
    }
    pub fn summary(r: &Results, out: Option<&std::path::Path>, _: Style) -> String {
        format!(
            "{:#?}\n{:?}\n{}\n{:?}\n{:?}\n",
            r.totals, r.timing, r.verdict, r.reasons, out
        )
    }
}
pub mod html {
    pub fn render(_: &crate::report::model::Results) -> String {
        "<html></html>".into()
    }
}
pub mod progress {
    pub struct ProgressLine;
    impl ProgressLine {
        pub fn new(_: usize) -> Self {
            Self
        }
        pub fn running(&self, _: &[&str]) {}
        pub fn finished(&self, _: &str, _: crate::report::model::Outcome) {}
        pub fn waiting(&self, _: &str) {}
        pub fn println(&self, t: &str) {
            eprintln!("{t}");
        }
        pub fn clear(self) {}
    }
}
