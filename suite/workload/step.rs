//! A pipeline step: small actions, done in the order in which they are given, until the first that fails.
//!
//! `PATH` ends at the first `=`, so that what a pipeline puts in as text may hold any character. A step exits with 1 when
//! an expectation does not hold or a file cannot be used, and says why on standard error.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::Value;

use super::options::{self, Repeated, invalid};
use super::{Context, STOPPED};

/// Largest file that an expectation reads, in bytes.
const MAX_FILE: u64 = 10 << 20;

/// Where a container can read how much memory it may have, in bytes: with control groups of the second version, or the first.
const MEMORY: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

const ACTIONS: [Repeated; 15] = [
    (
        "write",
        "PATH=TEXT",
        "Write text to a file and make its directory",
    ),
    ("now", "PATH", "Write the time to a file, in Unix seconds"),
    ("expect", "TEXT=TEXT", "Fail unless both texts are equal"),
    (
        "same-json",
        "JSON=JSON",
        "Fail unless both documents have the same value",
    ),
    (
        "expect-env",
        "NAME=TEXT",
        "Fail unless the environment variable holds exactly the text",
    ),
    (
        "env-contains",
        "NAME=PART",
        "Fail unless the environment variable holds the part",
    ),
    (
        "expect-file",
        "PATH=TEXT",
        "Fail unless the file holds exactly the text",
    ),
    (
        "file-contains",
        "PATH=PART",
        "Fail unless the file holds the part",
    ),
    (
        "memory-limit",
        "BYTES",
        "Fail unless the container may have this much memory and no more",
    ),
    (
        "contains",
        "PART=TEXT",
        "Fail unless the text holds the part",
    ),
    (
        "at-most",
        "NUMBER=LIMIT",
        "Fail if the number is above the limit",
    ),
    (
        "not-before",
        "UNIX[+SECONDS]",
        "Fail if the time is earlier, in Unix seconds",
    ),
    ("print", "TEXT", "Print text"),
    ("sleep-ms", "MS", "Wait"),
    (
        "exit",
        "CODE",
        "End with this exit code; what follows is not done",
    ),
];

/// One action of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write text to a file.
    Write(String, String),
    /// Write the time in Unix seconds to a file.
    Now(String),
    /// Fail unless `TEXT=TEXT` says the same twice.
    Expect(String),
    /// Fail unless both documents have the same value.
    SameJson(Value, Value),
    /// Fail unless the environment variable holds exactly this.
    ExpectEnv(String, String),
    /// Fail unless the environment variable holds this part.
    EnvContains(String, String),
    /// Fail unless the file holds exactly this.
    ExpectFile(String, String),
    /// Fail unless the file holds this part.
    FileContains(String, String),
    /// Fail unless the container's memory is limited to this many bytes.
    MemoryLimit(u64),
    /// Fail unless the first is part of the second.
    Contains(String, String),
    /// Fail if the first number is above the second.
    AtMost(f64, f64),
    /// Fail before this time, in Unix seconds.
    NotBefore(f64),
    /// Print a text.
    Print(String),
    /// Wait.
    Sleep(Duration),
    /// End.
    Exit(u8),
}

/// Do small actions in the order given, until the first that fails
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What to do.
    pub actions: Vec<Action>,
}

impl Args for Step {
    fn augment_args(command: Command) -> Command {
        options::augment(command, &ACTIONS)
            .about("Do small actions in the order given, until the first that fails")
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Step {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = options::ordered(matches, &ACTIONS);
        let actions = given
            .into_iter()
            .map(|(name, value)| Action::parse(name, value));
        Ok(Self {
            actions: actions.collect::<Result<_, _>>()?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Action {
    fn parse(name: &str, value: &str) -> Result<Self, clap::Error> {
        let (_, form, _) = ACTIONS
            .into_iter()
            .find(|(known, ..)| *known == name)
            .unwrap_or_default();
        let wrong = || invalid(name, value, form);
        let pair = || {
            let (left, right) = value.split_once('=').ok_or_else(wrong)?;
            Ok::<_, clap::Error>((left.to_owned(), right.to_owned()))
        };
        // A number may come from a pipeline, which writes whole numbers as 1.7e+09 too.
        let number = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
        Ok(match name {
            "write" => pair().map(|(path, text)| Self::Write(path, text))?,
            "now" => Self::Now(value.into()),
            "expect" => pair().map(|_| Self::Expect(value.into()))?,
            "same-json" => {
                let (left, right) = pair()?;
                let read = |text: &str| serde_json::from_str(text).map_err(|_| wrong());
                Self::SameJson(read(&left)?, read(&right)?)
            }
            "expect-env" => pair().map(|(name, text)| Self::ExpectEnv(name, text))?,
            "env-contains" => pair().map(|(name, part)| Self::EnvContains(name, part))?,
            "expect-file" => pair().map(|(path, text)| Self::ExpectFile(path, text))?,
            "file-contains" => pair().map(|(path, part)| Self::FileContains(path, part))?,
            "memory-limit" => Self::MemoryLimit(value.parse().map_err(|_| wrong())?),
            "contains" => pair().map(|(part, text)| Self::Contains(part, text))?,
            "at-most" => {
                let (left, right) = pair()?;
                Self::AtMost(number(&left)?, number(&right)?)
            }
            "not-before" => Self::NotBefore(number(value).or_else(|_| {
                // Not the first plus: that of an exponent may come before it.
                let (time, seconds) = value.rsplit_once('+').ok_or_else(wrong)?;
                Ok::<_, clap::Error>(number(time)? + number(seconds)?)
            })?),
            "print" => Self::Print(value.into()),
            "sleep-ms" => Self::Sleep(Duration::from_millis(value.parse().map_err(|_| wrong())?)),
            _ => Self::Exit(value.parse().map_err(|_| wrong())?),
        })
    }
}

/// Whether `TEXT=TEXT` has the same text on both sides. No split at the first `=` would do: the texts may hold one. If any
/// split gives two equal texts, it is the one in the middle.
fn same_twice(text: &str) -> bool {
    let middle = text.len() / 2;
    text.len() % 2 == 1
        && text.as_bytes()[middle] == b'='
        && text.as_bytes()[..middle] == text.as_bytes()[middle + 1..]
}

/// Whether two documents have the same value: numbers are equal however they are written.
fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let same = |(key, value)| b.get(key).is_some_and(|other| same_value(value, other));
            a.len() == b.len() && a.iter().all(same)
        }
        _ => left == right,
    }
}

impl Step {
    pub(super) async fn run(&self, cx: &Context) -> i32 {
        for action in &self.actions {
            match action {
                Action::Exit(code) => return i32::from(*code),
                Action::Sleep(duration) => {
                    if !cx.sleep(*duration).await {
                        return STOPPED;
                    }
                }
                _ => {
                    if let Err(why) = action.run(cx) {
                        cx.log(&why);
                        return 1;
                    }
                }
            }
        }
        0
    }
}

impl Action {
    fn run(&self, cx: &Context) -> Result<(), String> {
        let now = || cx.clock.now().as_second();
        let holds = |holds: bool, why: &dyn Fn() -> String| if holds { Ok(()) } else { Err(why()) };
        match self {
            Self::Write(path, text) => write(cx, path, text),
            Self::Now(path) => write(cx, path, &now().to_string()),
            Self::Expect(text) => holds(same_twice(text), &|| format!("not equal: {text}")),
            Self::SameJson(left, right) => holds(same_value(left, right), &|| {
                format!("not the same: {left} and {right}")
            }),
            Self::ExpectEnv(name, text) => {
                let found = cx.env.get(name);
                holds(found == Some(text), &|| {
                    format!("the variable `{name}` holds {found:?}, expected {text:?}")
                })
            }
            Self::EnvContains(name, part) => {
                let found = cx.env.get(name);
                holds(
                    found.is_some_and(|text| text.contains(part.as_str())),
                    &|| format!("the variable `{name}` holds {found:?}, without {part:?}"),
                )
            }
            Self::ExpectFile(path, text) => {
                let found = read(cx, path)?;
                holds(found == *text, &|| {
                    format!("`{path}` holds {found:?}, expected {text:?}")
                })
            }
            Self::FileContains(path, part) => {
                let found = read(cx, path)?;
                holds(found.contains(part.as_str()), &|| {
                    format!("`{path}` holds {found:?}, without {part:?}")
                })
            }
            Self::MemoryLimit(bytes) => {
                let found = MEMORY.iter().find_map(|path| read(cx, path).ok());
                let found = found.ok_or("nothing tells how much memory there may be")?;
                holds(found.trim() == bytes.to_string(), &|| {
                    format!("the memory's limit is {found:?}, expected {bytes}")
                })
            }
            Self::Contains(part, text) => holds(text.contains(part.as_str()), &|| {
                format!("no {part:?} in {text:?}")
            }),
            Self::AtMost(number, limit) => {
                holds(number <= limit, &|| format!("{number} is above {limit}"))
            }
            Self::NotBefore(time) => holds(now() as f64 >= *time, &|| {
                format!("{} is before {time}", now())
            }),
            Self::Print(text) => {
                cx.print(text);
                Ok(())
            }
            Self::Sleep(_) | Self::Exit(_) => Ok(()),
        }
    }
}

fn write(cx: &Context, path: &str, text: &str) -> Result<(), String> {
    let real = cx.path(path);
    real.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&real, text))
        .map_err(|error| format!("`{path}` could not be written: {error}"))
}

fn read(cx: &Context, path: &str) -> Result<String, String> {
    let open = |path: &Path| -> io::Result<String> {
        let mut text = String::new();
        fs::File::open(path)?
            .take(MAX_FILE)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    open(&cx.path(path)).map_err(|error| format!("`{path}` could not be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Container;

    #[tokio::test]
    async fn does_its_actions_in_order_until_one_fails() {
        for (args, code) in [
            (
                &["--write", "/o/x/data=a=b", "--expect-file", "/o/x/data=a=b"][..],
                0,
            ),
            (
                &["--expect-file", "/o/x/data=a", "--write", "/o/x/data=a"],
                1,
            ),
            (&["--expect-file", "/none=a"], 1),
            (&["--write", "/m=a b", "--file-contains", "/m= b"], 0),
            (&["--write", "/m=a b", "--file-contains", "/m=c"], 1),
            (&["--memory-limit", "4096"], 1),
            (
                &[
                    "--write",
                    "/sys/fs/cgroup/memory.max=4096",
                    "--memory-limit",
                    "4096",
                ],
                0,
            ),
            (&["--expect", "a=b=a=b"], 0),
            (&["--expect", "="], 0),
            (&["--expect", "a=b"], 1),
            (&["--expect", "ab=a"], 1),
            (&["--expect", "ab"], 2),
            (&["--contains", "FAILED={\"state\":\"FAILED\"}"], 0),
            (&["--contains", "FAILED={\"state\":\"SUCCEEDED\"}"], 1),
            (&["--at-most", "1.7e+09=1700000000"], 0),
            (&["--at-most", "2=1"], 1),
            (&["--at-most", "x=1"], 2),
            (&["--not-before", "1000"], 0),
            (&["--not-before", "9e12"], 1),
            (&["--not-before", "1.7e+09+45"], 0),
            (&["--not-before", "1700000000+9e12"], 1),
            (&["--not-before", "1+x"], 2),
            (&["--same-json", "[1, {\"a\": 2.0}]=[1.0,{\"a\":2}]"], 0),
            (&["--same-json", "3=\"3\""], 1),
            (&["--same-json", "[1]=[1, 2]"], 1),
            (&["--same-json", "{\"a\": 1}={\"b\": 1}"], 1),
            (&["--same-json", "a=1"], 2),
            (&["--expect-env", "KFCONFORM_NONE=a"], 1),
            (&["--env-contains", "KFCONFORM_NONE=a"], 1),
            (&["--exit", "3", "--expect", "a=b"], 3),
            (&["--sleep-ms", "1", "--exit", "4"], 4),
            (&["--sleep-ms", "-1"], 2),
            (&["--write", "no-path"], 2),
            (&["--unknown", "x"], 2),
            (&[], 0),
        ] {
            let container = Container::new();
            let mut argv = vec!["kfconform", "workload", "step"];
            argv.extend(args);
            assert_eq!(
                container.argv(&argv).await,
                code,
                "{args:?} {:?}",
                container.lines()
            );
            assert_eq!(
                container.lines().is_empty(),
                !matches!(code, 1 | 2),
                "{args:?}"
            );
        }
    }

    #[tokio::test]
    async fn prints_and_writes_the_time() {
        let container = Container::new();
        let argv = [
            "kfconform",
            "workload",
            "step",
            "--print",
            "-a b",
            "--now",
            "/o/at",
        ];
        assert_eq!(container.argv(&argv).await, 0);
        assert_eq!(container.lines(), ["-a b"]);
        let at: i64 = container.read("/o/at").parse().unwrap();
        assert!((container.cx().clock.now().as_second() - at).abs() < 5);
    }

    #[tokio::test]
    async fn a_file_where_a_directory_must_be_is_a_failure() {
        let container = Container::new();
        assert_eq!(container.run("step --write /a=x --write /a/b=y").await, 1);
        assert!(container.lines()[0].starts_with("`/a/b` could not be written"));
    }
}
