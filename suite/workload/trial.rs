//! A Katib trial: reports metrics as a training program does, then exits.
//!
//! Katib joins a trial's command and arguments by blanks and puts the line through `sh` (see [`super::shell`]), so an
//! argument must be a plain word there: letters, digits and `. , _ - + / = :`. Metric names and the numbers that Katib
//! substitutes are.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueEnum, value_parser};
use jiff::Timestamp;

use super::options::{self, Repeated};
use super::{Context, STOPPED};

/// Most reports of a trial.
const MAX_STEPS: u32 = 100_000;
/// The value that stands for the time: each later report has a larger one.
const NOW: &str = "now";
/// How long a collector may take to start: its image may have to be pulled first.
const COLLECTOR_STARTS: Duration = Duration::from_secs(60);
/// How long a collector that runs may take to look for the trial.
const COLLECTOR_LOOKS: Duration = Duration::from_secs(2);

const SERIES: [Repeated; 2] = [
    (
        "metric",
        "NAME",
        "A metric; the values after it are its own",
    ),
    (
        "value",
        "VALUE",
        "What the metric is at the next step, `now` for seconds since 1970; its last value stays for the steps that follow",
    ),
];

/// How the reports are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub enum Format {
    /// A line `NAME=VALUE` for each metric
    #[default]
    Text,
    /// One JSON object for each step: the time as `timestamp`, each value as a string, since Katib ignores JSON numbers
    Json,
}

/// Report metrics as a training program does, then exit
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trial {
    /// Each metric with its values, one for a step.
    pub metrics: Vec<(String, Vec<String>)>,
    /// How many reports; as many as the longest list of values unless given.
    pub steps: Option<u32>,
    /// The wait before each report.
    pub sleep: Duration,
    /// A line for standard output before anything else.
    pub print: Option<String>,
    /// How the reports are written.
    pub format: Format,
    /// Whether text lines start with the time.
    pub timestamps: bool,
    /// The file to append the reports to, instead of standard output.
    pub file: Option<PathBuf>,
    /// Whether to stay until Katib's collector has seen the trial.
    pub await_collector: bool,
    /// The exit code.
    pub exit: u8,
}

impl Args for Trial {
    fn augment_args(command: Command) -> Command {
        options::augment(command, &SERIES)
            .about("Report metrics as a training program does, then exit")
            .arg(
                Arg::new("steps")
                    .long("steps")
                    .value_name("N")
                    .help("How many reports [default: as many as the longest list of values]")
                    .value_parser(value_parser!(u32).range(0..=i64::from(MAX_STEPS))),
            )
            .arg(
                Arg::new("sleep-ms")
                    .long("sleep-ms")
                    .value_name("MS")
                    .help("Wait before each report")
                    .default_value("0")
                    .value_parser(value_parser!(u64)),
            )
            .arg(
                Arg::new("print")
                    .long("print")
                    .value_name("TEXT")
                    .help("Print a line before anything else"),
            )
            .arg(
                Arg::new("format")
                    .long("format")
                    .help("How the reports are written")
                    .default_value("text")
                    .value_parser(value_parser!(Format)),
            )
            .arg(
                Arg::new("timestamps")
                    .long("timestamps")
                    .help("Start each text line with the time")
                    .action(clap::ArgAction::SetTrue),
            )
            .arg(
                Arg::new("file")
                    .long("file")
                    .value_name("PATH")
                    .help("Append the reports to a file instead of printing them")
                    .value_parser(value_parser!(PathBuf)),
            )
            .arg(
                Arg::new("await-collector")
                    .long("await-collector")
                    .help("Stay until the metrics collector beside the trial has seen its process")
                    .action(clap::ArgAction::SetTrue),
            )
            .arg(
                Arg::new("exit")
                    .long("exit")
                    .value_name("CODE")
                    .help("The exit code")
                    .default_value("0")
                    .value_parser(value_parser!(u8)),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Trial {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut metrics: Vec<(String, Vec<String>)> = Vec::new();
        for (option, text) in options::ordered(matches, &SERIES) {
            match (option, metrics.last_mut()) {
                ("metric", _) => metrics.push((text.to_owned(), Vec::new())),
                (_, Some((_, values))) => values.push(text.to_owned()),
                (_, None) => {
                    return Err(options::invalid(option, text, "a value after a --metric"));
                }
            }
        }
        if let Some((name, _)) = metrics.iter().find(|(_, values)| values.is_empty()) {
            return Err(options::invalid(
                "metric",
                name,
                "a metric followed by a --value",
            ));
        }
        Ok(Self {
            metrics,
            steps: matches.get_one("steps").copied(),
            sleep: Duration::from_millis(matches.get_one("sleep-ms").copied().unwrap_or_default()),
            print: matches.get_one("print").cloned(),
            format: matches.get_one("format").copied().unwrap_or_default(),
            timestamps: matches.get_flag("timestamps"),
            file: matches.get_one("file").cloned(),
            await_collector: matches.get_flag("await-collector"),
            exit: matches.get_one("exit").copied().unwrap_or_default(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Trial {
    pub(super) async fn run(&self, cx: &Context) -> i32 {
        if let Some(line) = &self.print {
            cx.print(line);
        }
        let longest = self.metrics.iter().map(|(_, values)| values.len()).max();
        let steps = self
            .steps
            .map_or(longest.unwrap_or(1), |steps| steps as usize);
        for step in 0..steps {
            if !cx.sleep(self.sleep).await {
                return STOPPED;
            }
            let report = self.report(step, cx.clock.now());
            if let Err(error) = self.write(&report, cx) {
                cx.log(&format!("the report could not be written: {error}"));
                return 1;
            }
        }
        if self.await_collector && !seen_by_collector(cx).await {
            return STOPPED;
        }
        i32::from(self.exit)
    }

    /// The lines of one step.
    fn report(&self, step: usize, now: Timestamp) -> String {
        let seconds = now.as_second().to_string();
        let now = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let values = self.metrics.iter().filter_map(|(name, values)| {
            let value = values.get(step).or(values.last())?;
            Some((name, if value == NOW { &seconds } else { value }))
        });
        match self.format {
            Format::Json if self.metrics.is_empty() => String::new(),
            Format::Json => {
                let mut report = serde_json::Map::new();
                report.insert("timestamp".into(), now.into());
                for (name, value) in values {
                    report.insert(name.clone(), value.clone().into());
                }
                format!("{}\n", serde_json::Value::Object(report))
            }
            Format::Text => {
                let start = if self.timestamps {
                    now + " "
                } else {
                    String::new()
                };
                values
                    .map(|(name, value)| [&start, name, "=", value, "\n"].concat())
                    .collect()
            }
        }
    }

    fn write(&self, report: &str, cx: &Context) -> io::Result<()> {
        let Some(file) = &self.file else {
            cx.print(report);
            return Ok(());
        };
        let file = cx.path(file);
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        file.write_all(report.as_bytes())
    }
}

/// Katib's collector looks once, when it starts, for the trial in the process table that their containers share, and
/// gives up when the trial has ended before. So this waits until a process of another container is there and had the
/// time to look. False when the order to stop came first. Where no process table is shared, nobody looks in it.
async fn seen_by_collector(cx: &Context) -> bool {
    const POLL: Duration = Duration::from_millis(100);
    let proc = cx.path("/proc");
    let mut waited = Duration::ZERO;
    loop {
        match beside(&proc, std::process::id()) {
            None => return true,
            Some(true) => return cx.sleep(COLLECTOR_LOOKS).await,
            Some(false) if waited >= COLLECTOR_STARTS => return true,
            Some(false) => {}
        }
        if !cx.sleep(POLL).await {
            return false;
        }
        waited += POLL;
    }
}

/// Whether the table of processes at `proc` holds a first process of another container than that of process `own`;
/// none where there is no table, or only this container's. Process 1 of a shared table is the pod's own.
fn beside(proc: &Path, own: u32) -> Option<bool> {
    let mut first = own;
    loop {
        match parent(proc, first)? {
            0 => break,
            parent => first = parent,
        }
    }
    if first == 1 {
        return None;
    }
    let mut others = fs::read_dir(proc)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != 1 && *pid != first);
    Some(others.any(|pid| parent(proc, pid) == Some(0)))
}

/// The parent of a process; 0 where that is outside of the table.
fn parent(proc: &Path, pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
    // `PID (COMMAND) STATE PPID …`; a command may hold anything, brackets too.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Container;
    use super::*;

    async fn trial(args: &str) -> (i32, Vec<String>) {
        let container = Container::new();
        let code = container.run(&format!("trial {args}")).await;
        (code, container.lines())
    }

    #[tokio::test]
    async fn reports_each_metric_at_each_step() {
        for (args, code, lines) in [
            ("--metric acc --value 0.03", 0, "acc=0.03"),
            (
                "--metric acc --value 0.1 --value 0.3 --value 0.2",
                0,
                "acc=0.1 acc=0.3 acc=0.2",
            ),
            (
                "--metric a --value 1 --value -2e-3 --metric b --value 9",
                0,
                "a=1 b=9 a=-2e-3 b=9",
            ),
            ("--metric a --value now --steps 0", 0, ""),
            ("--value=5", 2, ""),
            ("--metric a", 2, ""),
            ("--metric a --value 1 --steps 2 --exit 7", 7, "a=1 a=1"),
            ("--metric a --value 1 --steps 0", 0, ""),
            ("--print hello", 0, "hello"),
            ("--exit 1", 1, ""),
            ("--exit 256", 2, ""),
        ] {
            let (seen, mut output) = trial(args).await;
            if code == 2 {
                assert!(output[0].starts_with("error: "), "{output:?}");
                output.clear();
            }
            assert_eq!((seen, output.join(" ").as_str()), (code, lines), "{args}");
        }
    }

    #[tokio::test]
    async fn timestamps_are_rfc3339_and_do_not_go_back() {
        let (_, lines) = trial("--timestamps --sleep-ms 2 --metric a --value 1 --value 2").await;
        let times: Vec<Timestamp> = lines
            .iter()
            .map(|line| line.split_once(' ').unwrap().0.parse().unwrap())
            .collect();
        assert!(times.len() == 2 && times[0] < times[1], "{lines:?}");
    }

    #[tokio::test]
    async fn a_value_may_be_the_time() {
        let before = Timestamp::now().as_second();
        let (_, lines) = trial("--metric age --value now").await;
        let age: i64 = lines[0].strip_prefix("age=").unwrap().parse().unwrap();
        assert!(
            age >= before && age <= Timestamp::now().as_second(),
            "{age}"
        );
    }

    #[tokio::test]
    async fn json_goes_to_a_file_with_strings_as_values() {
        let container = Container::new();
        let args =
            "trial --format json --file /var/log/katib/m.log --metric acc --value 0.5 --value 1";
        assert_eq!(container.run(args).await, 0);
        let text = container.read("/var/log/katib/m.log");
        let reports: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(reports.len(), 2);
        assert_eq!(
            (&reports[0]["acc"], &reports[1]["acc"]),
            (&"0.5".into(), &"1".into())
        );
        assert!(
            reports[0]["timestamp"]
                .as_str()
                .unwrap()
                .parse::<Timestamp>()
                .is_ok()
        );
        assert!(container.lines().is_empty());
    }

    #[test]
    fn the_collector_is_the_first_process_of_another_container() {
        let table = tempfile::tempdir().unwrap();
        let add = |pid: u32, command: &str, parent: u32| {
            let directory = table.path().join(pid.to_string());
            fs::create_dir_all(&directory).unwrap();
            let line = format!("{pid} ({command}) S {parent} 1 1 0 -1");
            fs::write(directory.join("stat"), line).unwrap();
        };
        assert_eq!(beside(table.path(), 8), None, "no table at all");
        add(1, "sh", 0);
        add(8, "a trial", 1);
        assert_eq!(beside(table.path(), 8), None, "a table of its own");
        add(1, "pause", 0);
        add(7, "sh", 0);
        add(8, "odd) R 0 (name", 7);
        assert_eq!(beside(table.path(), 8), Some(false));
        add(12, "collector", 0);
        assert_eq!(beside(table.path(), 8), Some(true));
    }

    #[tokio::test]
    async fn is_stopped_while_it_waits() {
        let container = Container::new();
        container.stop();
        assert_eq!(
            container
                .run("trial --sleep-ms 60000 --metric a --value 1")
                .await,
            STOPPED
        );
        assert!(container.lines().is_empty());
    }
}
