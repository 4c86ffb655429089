//! The little of `sh -c` that pods without a real shell need: our fixtures' scripts and what Katib's metrics collector
//! makes of a trial's command (`COMMAND 1>/var/log/katib/metrics.log 2>&1 && echo completed > /var/log/katib/$$.pid`,
//! with early stopping `… || if test -f … && [ $(head -n 1 …) = early-stopped ]; then …; else …; fi && …`).
//!
//! A script is parsed whole before its first command runs. Syntax outside of this little is refused, so that a fixture
//! never means one thing here and another in a real shell.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Context, STOPPED, Sink, run};

/// What a shell answers to what it cannot run.
const NOT_FOUND: i32 = 127;
/// Longest script, in bytes.
const MAX_SCRIPT: usize = 64 * 1024;
/// Deepest nesting of subshells, conditions and substitutions.
const MAX_DEPTH: usize = 16;
/// `$$`: a container's first process.
const PID: &str = "1";

/// Runs a script as `sh -c` does. What it does not understand is the exit code 127 and a line on standard error.
pub async fn run_shell(script: &str, cx: Context) -> i32 {
    start(script, vec!["sh".into()], false, cx).await
}

/// Runs `sh` with these arguments: `-c SCRIPT [NAME [ARGUMENT…]]`, also `-ec`.
pub(super) async fn sh(args: &[String], cx: Context) -> i32 {
    match args {
        [flag, script, words @ ..] if matches!(flag.as_str(), "-c" | "-ec" | "-ce") => {
            let mut words = words.to_vec();
            if words.is_empty() {
                words.push("sh".into());
            }
            start(script, words, flag != "-c", cx).await
        }
        _ => {
            cx.log(&format!("sh: not understood: {}", args.join(" ")));
            NOT_FOUND
        }
    }
}

async fn start(script: &str, positional: Vec<String>, errexit: bool, cx: Context) -> i32 {
    match parse(script) {
        Ok(list) => {
            let shell = Shell {
                positional,
                errexit,
            };
            let (Flow::Next(status) | Flow::Exit(status)) = shell.list(&list, &cx).await;
            status
        }
        Err(what) => {
            cx.log(&format!("sh: not understood: {what}"));
            NOT_FOUND
        }
    }
}

/// Commands one after the other.
type List = Vec<Chain>;

/// Commands joined by `&&` (true) and `||` (false); the first one's join says nothing.
type Chain = Vec<(bool, Command)>;

#[derive(Debug, PartialEq)]
struct Command {
    kind: Kind,
    redirections: Vec<Redirection>,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Simple(Vec<Word>),
    Subshell(List),
    If {
        condition: List,
        then: List,
        otherwise: List,
    },
}

#[derive(Debug, PartialEq)]
struct Redirection {
    stream: Stream,
    target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Out,
    Err,
}

#[derive(Debug, PartialEq)]
enum Target {
    File { path: Word, append: bool },
    Same(Stream),
}

type Word = Vec<Part>;

#[derive(Debug, PartialEq)]
enum Part {
    /// Text; whether it was quoted matters only for reserved words and for an empty word.
    Text { text: String, quoted: bool },
    /// The value of something; unquoted, it is split at white space.
    Value { of: Value, quoted: bool },
}

#[derive(Debug, PartialEq)]
enum Value {
    Pid,
    Variable(String),
    Positional(usize),
    Output(List),
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(Word),
    Redirection(Stream, bool),
    Duplicate(Stream, Stream),
    Semicolon,
    Newline,
    And,
    Or,
    Open,
    Close,
}

impl Token {
    /// The word, if it is this one, unquoted and whole.
    fn is(&self, reserved: &str) -> bool {
        matches!(self, Token::Word(word) if plain(word) == Some(reserved))
    }
}

/// The text of a word that is nothing but unquoted text.
fn plain(word: &Word) -> Option<&str> {
    match word.as_slice() {
        [
            Part::Text {
                text,
                quoted: false,
            },
        ] => Some(text),
        _ => None,
    }
}

fn parse(script: &str) -> Result<List, String> {
    if script.len() > MAX_SCRIPT {
        return Err(format!("a script of more than {MAX_SCRIPT} bytes"));
    }
    parse_at(script, 0)
}

fn parse_at(script: &str, depth: usize) -> Result<List, String> {
    let mut parser = Parser {
        tokens: tokens(script, depth)?.into_iter().peekable(),
    };
    let list = parser.list(depth)?;
    match parser.tokens.next() {
        None => Ok(list),
        Some(token) => Err(unexpected(Some(&token))),
    }
}

fn unexpected(token: Option<&Token>) -> String {
    match token {
        None => "the script ends too early".into(),
        Some(Token::Word(word)) => format!("{:?}", plain(word).unwrap_or("word")),
        Some(token) => format!("{token:?}"),
    }
}

/// Reserved words and builtins that a real shell has and this one has not, at the start of a command.
const UNSUPPORTED: [&str; 15] = [
    "!", "{", "}", "case", "do", "done", "elif", "esac", "eval", "exec", "export", "for", "set",
    "until", "while",
];
/// Words that end a list.
const ENDS: [&str; 3] = ["then", "else", "fi"];

struct Parser {
    tokens: Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    fn list(&mut self, depth: usize) -> Result<List, String> {
        if depth > MAX_DEPTH {
            return Err("nested too deeply".into());
        }
        let mut list = Vec::new();
        loop {
            while self.tokens.next_if_eq(&Token::Newline).is_some() {}
            match self.tokens.peek() {
                None | Some(Token::Close) => break,
                Some(token) if ENDS.iter().any(|end| token.is(end)) => break,
                Some(_) => list.push(self.chain(depth)?),
            }
            match self.tokens.peek() {
                None | Some(Token::Close) => break,
                Some(Token::Semicolon | Token::Newline) => self.tokens.next(),
                token => return Err(unexpected(token)),
            };
        }
        if list.is_empty() {
            return Err("an empty list of commands".into());
        }
        Ok(list)
    }

    fn chain(&mut self, depth: usize) -> Result<Chain, String> {
        let mut chain = vec![(true, self.command(depth)?)];
        while let Some(join) = self
            .tokens
            .next_if(|token| matches!(token, Token::And | Token::Or))
        {
            chain.push((join == Token::And, self.command(depth)?));
        }
        Ok(chain)
    }

    fn command(&mut self, depth: usize) -> Result<Command, String> {
        let mut redirections = Vec::new();
        let kind = match self.tokens.peek() {
            Some(Token::Open) => {
                self.tokens.next();
                let list = self.list(depth + 1)?;
                match self.tokens.next() {
                    Some(Token::Close) => Kind::Subshell(list),
                    token => return Err(unexpected(token.as_ref())),
                }
            }
            Some(token) if token.is("if") => {
                self.tokens.next();
                self.condition(depth)?
            }
            _ => Kind::Simple(self.words(&mut redirections)?),
        };
        while let Some(redirection) = self.redirection()? {
            redirections.push(redirection);
        }
        Ok(Command { kind, redirections })
    }

    fn condition(&mut self, depth: usize) -> Result<Kind, String> {
        let condition = self.list(depth + 1)?;
        self.reserved("then")?;
        let then = self.list(depth + 1)?;
        let otherwise = if self.tokens.next_if(|token| token.is("else")).is_some() {
            self.list(depth + 1)?
        } else {
            Vec::new()
        };
        self.reserved("fi")?;
        Ok(Kind::If {
            condition,
            then,
            otherwise,
        })
    }

    fn reserved(&mut self, word: &str) -> Result<(), String> {
        match self.tokens.next() {
            Some(token) if token.is(word) => Ok(()),
            token => Err(unexpected(token.as_ref())),
        }
    }

    fn words(&mut self, redirections: &mut Vec<Redirection>) -> Result<Vec<Word>, String> {
        let mut words = Vec::new();
        loop {
            if let Some(redirection) = self.redirection()? {
                redirections.push(redirection);
            } else if let Some(Token::Word(word)) =
                self.tokens.next_if(|token| matches!(token, Token::Word(_)))
            {
                words.push(word);
            } else {
                break;
            }
        }
        let Some(first) = words.first() else {
            return Err(unexpected(self.tokens.peek()));
        };
        match first.first() {
            Some(Part::Text {
                text,
                quoted: false,
            }) if text.contains('=') => Err(format!("the assignment {text:?}")),
            _ => match plain(first) {
                Some(name) if UNSUPPORTED.contains(&name) => Err(format!("{name:?}")),
                _ => Ok(words),
            },
        }
    }

    fn redirection(&mut self) -> Result<Option<Redirection>, String> {
        let token = self
            .tokens
            .next_if(|token| matches!(token, Token::Redirection(..) | Token::Duplicate(..)));
        match token {
            Some(Token::Duplicate(stream, same)) => Ok(Some(Redirection {
                stream,
                target: Target::Same(same),
            })),
            Some(Token::Redirection(stream, append)) => match self.tokens.next() {
                Some(Token::Word(path)) => Ok(Some(Redirection {
                    stream,
                    target: Target::File { path, append },
                })),
                token => Err(unexpected(token.as_ref())),
            },
            _ => Ok(None),
        }
    }
}

fn tokens(script: &str, depth: usize) -> Result<Vec<Token>, String> {
    let mut chars = script.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(&next) = chars.peek() {
        match next {
            ' ' | '\t' => {
                chars.next();
            }
            ';' => {
                chars.next();
                tokens.push(Token::Semicolon);
            }
            '\n' => {
                chars.next();
                tokens.push(Token::Newline);
            }
            '&' | '|' => {
                chars.next();
                if chars.next_if_eq(&next).is_none() {
                    return Err(format!("{:?}", next.to_string()));
                }
                tokens.push(if next == '&' { Token::And } else { Token::Or });
            }
            '(' => {
                chars.next();
                tokens.push(Token::Open);
            }
            ')' => {
                chars.next();
                tokens.push(Token::Close);
            }
            '>' => {
                chars.next();
                tokens.push(redirection(Stream::Out, &mut chars)?);
            }
            '1' | '2' if chars.clone().nth(1) == Some('>') => {
                chars.next();
                chars.next();
                let stream = if next == '1' {
                    Stream::Out
                } else {
                    Stream::Err
                };
                tokens.push(redirection(stream, &mut chars)?);
            }
            '<' | '#' | '~' => return Err(format!("{:?}", next.to_string())),
            _ => tokens.push(Token::Word(word(&mut chars, depth)?)),
        }
    }
    Ok(tokens)
}

fn redirection(stream: Stream, chars: &mut Peekable<Chars>) -> Result<Token, String> {
    if chars.next_if_eq(&'&').is_some() {
        return match chars.next() {
            Some('1') => Ok(Token::Duplicate(stream, Stream::Out)),
            Some('2') => Ok(Token::Duplicate(stream, Stream::Err)),
            _ => Err("a redirection to anything but the streams 1 and 2".into()),
        };
    }
    Ok(Token::Redirection(stream, chars.next_if_eq(&'>').is_some()))
}

fn word(chars: &mut Peekable<Chars>, depth: usize) -> Result<Word, String> {
    let mut word = Vec::new();
    let mut text = String::new();
    let push = |word: &mut Word, text: &mut String| {
        if !text.is_empty() {
            let text = std::mem::take(text);
            word.push(Part::Text {
                text,
                quoted: false,
            });
        }
    };
    while let Some(&next) = chars.peek() {
        match next {
            ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
            '*' | '?' | '`' => return Err(format!("{:?}", next.to_string())),
            _ => {}
        }
        chars.next();
        match next {
            '\'' => {
                push(&mut word, &mut text);
                let mut quoted = String::new();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(char) => quoted.push(char),
                        None => return Err("an open quote".into()),
                    }
                }
                word.push(Part::Text {
                    text: quoted,
                    quoted: true,
                });
            }
            '"' => {
                push(&mut word, &mut text);
                double_quoted(chars, &mut word, depth)?;
            }
            '\\' => {
                push(&mut word, &mut text);
                let Some(char) = chars.next() else {
                    return Err("a backslash at the end".into());
                };
                word.push(Part::Text {
                    text: char.into(),
                    quoted: true,
                });
            }
            '$' => match value(chars, depth)? {
                Some(of) => {
                    push(&mut word, &mut text);
                    word.push(Part::Value { of, quoted: false });
                }
                None => text.push('$'),
            },
            _ => text.push(next),
        }
    }
    push(&mut word, &mut text);
    Ok(word)
}

fn double_quoted(chars: &mut Peekable<Chars>, word: &mut Word, depth: usize) -> Result<(), String> {
    let mut text = String::new();
    let part = |text: &mut String| Part::Text {
        text: std::mem::take(text),
        quoted: true,
    };
    loop {
        match chars.next() {
            None => return Err("an open quote".into()),
            Some('"') => break,
            Some('`') => return Err("\"`\"".into()),
            Some('\\') => match chars.next() {
                Some(char @ ('$' | '`' | '"' | '\\')) => text.push(char),
                Some(char) => text.extend(['\\', char]),
                None => return Err("an open quote".into()),
            },
            Some('$') => match value(chars, depth)? {
                Some(of) => {
                    word.push(part(&mut text));
                    word.push(Part::Value { of, quoted: true });
                }
                None => text.push('$'),
            },
            Some(char) => text.push(char),
        }
    }
    word.push(part(&mut text));
    Ok(())
}

/// What follows a `$`; `None` is a mere dollar sign.
fn value(chars: &mut Peekable<Chars>, depth: usize) -> Result<Option<Value>, String> {
    let is_name = |char: &char| char.is_ascii_alphanumeric() || *char == '_';
    match chars.peek() {
        Some('$') => {
            chars.next();
            Ok(Some(Value::Pid))
        }
        Some(digit) if digit.is_ascii_digit() => {
            let index = digit.to_digit(10).unwrap_or_default() as usize;
            chars.next();
            Ok(Some(Value::Positional(index)))
        }
        Some('{') => {
            chars.next();
            let name: String = std::iter::from_fn(|| chars.next_if(is_name)).collect();
            match chars.next() {
                Some('}')
                    if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    Ok(Some(Value::Variable(name)))
                }
                _ => Err(format!("\"${{{name}\"")),
            }
        }
        Some('(') => {
            chars.next();
            // Commands inside hold neither quotes nor brackets: nothing that we run needs them.
            let inner: String = std::iter::from_fn(|| {
                chars.next_if(|char| !matches!(char, '(' | ')' | '\'' | '"' | '\\'))
            })
            .collect();
            match chars.next() {
                Some(')') if depth < MAX_DEPTH => {
                    Ok(Some(Value::Output(parse_at(&inner, depth + 1)?)))
                }
                _ => Err(format!("\"$({inner}\"")),
            }
        }
        Some(char) if is_name(char) => {
            let name = std::iter::from_fn(|| chars.next_if(is_name)).collect();
            Ok(Some(Value::Variable(name)))
        }
        Some(char @ ('@' | '*' | '#' | '?' | '!' | '-')) => Err(format!("\"${char}\"")),
        _ => Ok(None),
    }
}

/// What happens after a command.
enum Flow {
    Next(i32),
    Exit(i32),
}

struct Shell {
    positional: Vec<String>,
    errexit: bool,
}

impl Shell {
    fn list<'a>(&'a self, list: &'a List, cx: &'a Context) -> BoxFuture<'a, Flow> {
        async move {
            let mut result = 0;
            for chain in list {
                let mut status = 0;
                let mut tested = false;
                for (index, (and, command)) in chain.iter().enumerate() {
                    if index > 0 && *and != (status == 0) {
                        continue;
                    }
                    if cx.stop.is_stopped() {
                        return Flow::Exit(STOPPED);
                    }
                    // A failure that a later `&&` or `||` looks at does not end the script under `-e`.
                    tested = index + 1 < chain.len();
                    match self.command(command, cx).await {
                        Flow::Next(code) => status = code,
                        Flow::Exit(code) => return Flow::Exit(code),
                    }
                }
                result = status;
                if self.errexit && status != 0 && !tested {
                    return Flow::Exit(status);
                }
            }
            Flow::Next(result)
        }
        .boxed()
    }

    async fn command(&self, command: &Command, cx: &Context) -> Flow {
        let mut inner = cx.clone();
        for redirection in &command.redirections {
            let sink = match &redirection.target {
                Target::Same(Stream::Out) => inner.out.clone(),
                Target::Same(Stream::Err) => inner.err.clone(),
                Target::File { path, append } => {
                    let path = self.expand(path, cx).await.join(" ");
                    match file_sink(&path, *append, cx) {
                        Ok(sink) => sink,
                        Err(error) => {
                            cx.log(&format!("sh: cannot create {path}: {error}"));
                            return Flow::Next(1);
                        }
                    }
                }
            };
            match redirection.stream {
                Stream::Out => inner.out = sink,
                Stream::Err => inner.err = sink,
            }
        }
        match &command.kind {
            Kind::Simple(words) => {
                let mut expanded = Vec::new();
                for word in words {
                    expanded.extend(self.expand(word, &inner).await);
                }
                builtin(expanded, inner).await
            }
            Kind::Subshell(list) => {
                let (Flow::Next(status) | Flow::Exit(status)) = self.list(list, &inner).await;
                Flow::Next(status)
            }
            Kind::If {
                condition,
                then,
                otherwise,
            } => {
                let lenient = Shell {
                    positional: self.positional.clone(),
                    errexit: false,
                };
                match lenient.list(condition, &inner).await {
                    Flow::Next(0) => self.list(then, &inner).await,
                    Flow::Next(_) => self.list(otherwise, &inner).await,
                    exit @ Flow::Exit(_) => exit,
                }
            }
        }
    }

    /// The words that a word becomes.
    async fn expand(&self, word: &Word, cx: &Context) -> Vec<String> {
        let mut words = Vec::new();
        let mut current: Option<String> = None;
        for part in word {
            match part {
                Part::Text { text, .. } => current.get_or_insert_default().push_str(text),
                Part::Value { of, quoted } => {
                    let value = self.value(of, cx).await;
                    if *quoted {
                        current.get_or_insert_default().push_str(&value);
                        continue;
                    }
                    if value.starts_with(char::is_whitespace) {
                        words.extend(current.take());
                    }
                    for (index, field) in value.split_whitespace().enumerate() {
                        if index > 0 {
                            words.extend(current.take());
                        }
                        current.get_or_insert_default().push_str(field);
                    }
                    if value.ends_with(char::is_whitespace) {
                        words.extend(current.take());
                    }
                }
            }
        }
        words.extend(current);
        words
    }

    async fn value(&self, value: &Value, cx: &Context) -> String {
        match value {
            Value::Pid => PID.into(),
            Value::Variable(name) => cx.env.get(name).cloned().unwrap_or_default(),
            Value::Positional(index) => self.positional.get(*index).cloned().unwrap_or_default(),
            Value::Output(list) => {
                let lines = Arc::new(Mutex::new(Vec::new()));
                let inner = Context {
                    out: {
                        let lines = lines.clone();
                        Arc::new(move |line| {
                            lines
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(line.to_owned());
                        })
                    },
                    ..cx.clone()
                };
                self.list(list, &inner).await;
                let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.join("\n").trim_end_matches('\n').to_owned()
            }
        }
    }
}

/// A sink that writes to a file of the container, whose directory must exist.
fn file_sink(path: &str, append: bool, cx: &Context) -> std::io::Result<Sink> {
    if path == "/dev/null" {
        return Ok(Arc::new(|_| {}));
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .append(append)
        .truncate(!append)
        .open(cx.path(Path::new(path)))?;
    let file = Mutex::new(file);
    Ok(Arc::new(move |line| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // As with a full disk, the writer goes on; the reader finds the line missing.
        drop(writeln!(file, "{line}"));
    }))
}

async fn builtin(words: Vec<String>, cx: Context) -> Flow {
    let args: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let truth = |holds: bool| Flow::Next(i32::from(!holds));
    match (words.first().map_or("", String::as_str), args.as_slice()) {
        ("" | "true" | ":", _) => Flow::Next(0),
        ("false", _) => Flow::Next(1),
        ("echo", words) if !words.first().is_some_and(|word| word.starts_with('-')) => {
            (cx.out)(&words.join(" "));
            Flow::Next(0)
        }
        ("exit", []) => Flow::Exit(0),
        ("exit", [code]) if code.parse::<u8>().is_ok() => {
            Flow::Exit(code.parse::<u8>().map_or(2, i32::from))
        }
        ("sleep", [seconds])
            if seconds
                .parse::<f64>()
                .is_ok_and(|s| (0.0..1e9).contains(&s)) =>
        {
            let duration = Duration::from_secs_f64(seconds.parse().unwrap_or_default());
            Flow::Next(if cx.sleep(duration).await { 0 } else { STOPPED })
        }
        ("test", ["-f", path]) | ("[", ["-f", path, "]"]) => {
            truth(fs::metadata(cx.path(path)).is_ok_and(|found| found.is_file()))
        }
        ("test", [left, "=", right]) | ("[", [left, "=", right, "]"]) => truth(left == right),
        ("test", [left, "!=", right]) | ("[", [left, "!=", right, "]"]) => truth(left != right),
        ("head", ["-n", count, path]) if count.parse::<usize>().is_ok() => {
            match File::open(cx.path(path)) {
                Ok(file) => {
                    let count = count.parse().unwrap_or_default();
                    let lines = BufReader::new(file).lines().map_while(Result::ok);
                    lines.take(count).for_each(|line| (cx.out)(&line));
                    Flow::Next(0)
                }
                Err(error) => {
                    cx.log(&format!("head: {path}: {error}"));
                    Flow::Next(1)
                }
            }
        }
        _ => Flow::Next(run(words, cx).await),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Container;
    use super::*;

    async fn script(text: &str) -> (i32, Vec<String>) {
        let container = Container::new();
        let code = run_shell(text, container.cx()).await;
        (code, container.lines())
    }

    #[tokio::test]
    async fn lists_follow_the_status() {
        for (text, code, lines) in [
            ("echo a && echo b || echo c; echo d", 0, "a b d"),
            ("false && echo b || echo c", 0, "c"),
            ("false; echo $$ done", 0, "1 done"),
            ("( echo a; exit 3 ) && echo b", 3, "a"),
            ("exit 4; echo never", 4, ""),
            (
                "if [ x = x ]; then echo yes; else echo no; fi && echo end",
                0,
                "yes end",
            ),
            ("if test -f /none; then echo yes; fi", 0, ""),
            ("true\necho 'a  b' \"c\"'d'\\ e", 0, "a  b cd e"),
            ("echo $(echo x y)z \"$HOME\"", 0, "x yz /home/jovyan"),
            ("kfconform workload nonsense 2>/dev/null", 2, ""),
        ] {
            let expected = (code, lines);
            let (code, seen) = script(text).await;
            assert_eq!((code, seen.join(" ").as_str()), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn refuses_what_it_does_not_know_before_running_anything() {
        for text in [
            "echo a | cat",
            "echo a &",
            "for v in 1 2; do echo $v; done",
            "A=b echo",
            "echo `x`",
            "echo a > ",
            "echo ${A:-b}",
            "echo *",
            "( echo a",
            "echo a )",
            "echo 'a",
            "if true; echo a; fi",
            "",
            "&& echo a",
            "echo a; ; echo b",
            "echo a;; echo b",
            "echo $?",
            "cat < file",
        ] {
            let (code, lines) = script(text).await;
            assert_eq!(code, NOT_FOUND, "{text}");
            assert!(
                lines.len() == 1 && lines[0].starts_with("sh: not understood"),
                "{text}: {lines:?}"
            );
        }
        let (code, lines) = script("echo a; curl x").await;
        assert_eq!((code, lines.len()), (NOT_FOUND, 2), "{lines:?}");
    }

    #[tokio::test]
    async fn collects_a_trial_as_katib_wraps_it() {
        let container = Container::new();
        container.write(
            "/var/log/katib/metrics.log",
            "the much longer log of an earlier container",
        );
        let wrapped = |command: &str| {
            format!(
                "{command} 1>/var/log/katib/metrics.log 2>&1 && echo completed > /var/log/katib/$$.pid"
            )
        };
        let code = run_shell(&wrapped("( echo acc=0.5; nonsense; true )"), container.cx()).await;
        assert_eq!(code, 0);
        assert_eq!(
            container.read("/var/log/katib/metrics.log"),
            "acc=0.5\nnonsense: not found\n"
        );
        assert_eq!(container.read("/var/log/katib/1.pid"), "completed\n");
        assert!(container.lines().is_empty(), "everything was redirected");

        let stopped = "kfconform workload trial --exit 1 || if test -f /var/log/katib/$$.pid && [ $(head -n 1 /var/log/katib/$$.pid) = early-stopped ]; \
                       then echo stopped; else echo failed; exit 1; fi";
        assert_eq!(run_shell(stopped, container.cx()).await, 1);
        container.write("/var/log/katib/1.pid", "early-stopped\n");
        assert_eq!(run_shell(stopped, container.cx()).await, 0);
        assert_eq!(container.lines(), ["failed", "stopped"]);
    }

    #[tokio::test]
    async fn errexit_and_positional_words() {
        let container = Container::new();
        let sh = |args: &[&str]| {
            let mut argv = vec!["/bin/sh".to_owned()];
            argv.extend(args.iter().map(|arg| (*arg).to_owned()));
            run(argv, container.cx())
        };
        assert_eq!(sh(&["-ec", "false || true; false; echo never"]).await, 1);
        assert_eq!(sh(&["-c", "echo $0 \"$1\" $2", "a", "b  c"]).await, 0);
        assert_eq!(sh(&["-x", "true"]).await, NOT_FOUND);
        assert_eq!(container.lines(), ["a b  c", "sh: not understood: -x true"]);
    }

    #[tokio::test]
    async fn stops_between_commands() {
        let container = Container::new();
        container.stop();
        assert_eq!(run_shell("sleep 60; echo a", container.cx()).await, STOPPED);
        assert!(container.lines().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[ a-z0-9$(){}'\"\\\\;&|<>=*`#!\n-]{0,60}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse(&"(".repeat(10_000)).is_err());
        assert!(parse(&"echo $(".repeat(1_000)).is_err());
    }
}
