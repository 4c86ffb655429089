//! The part of the Common Expression Language in which conditions of tasks are written.

use serde_json::{Map, Value, json};

/// Evaluates a condition such as `inputs.parameter_values['a'] == 'x' && int(inputs.parameter_values['n']) > 2`.
pub(super) fn holds(text: &str, parameters: &Map<String, Value>) -> Result<bool, String> {
    let mut parser = Parser {
        rest: text,
        parameters,
        depth: 0,
    };
    let value = parser.or()?;
    parser.blanks();
    match value {
        Value::Bool(flag) if parser.rest.is_empty() => Ok(flag),
        _ => Err(format!("condition `{text}` is no condition")),
    }
}

/// How deep parentheses and negations may go.
const DEEPEST: usize = 64;

struct Parser<'a> {
    rest: &'a str,
    parameters: &'a Map<String, Value>,
    depth: usize,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, word: &str) -> bool {
        self.blanks();
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn or(&mut self) -> Result<Value, String> {
        let mut value = self.and()?;
        while self.take("||") {
            let right = self.and()?;
            value = json!(truth(&value)? | truth(&right)?);
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<Value, String> {
        let mut value = self.comparison()?;
        while self.take("&&") {
            let right = self.comparison()?;
            value = json!(truth(&value)? & truth(&right)?);
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Result<Value, String> {
        let left = self.unary()?;
        for operator in ["==", "!=", "<=", ">=", "<", ">"] {
            if self.take(operator) {
                let right = self.unary()?;
                return compare(operator, &left, &right).map(Value::Bool);
            }
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("the condition is nested too deeply".to_owned());
        }
        let value = if self.take("!") {
            let value = self.unary()?;
            json!(!truth(&value)?)
        } else {
            self.atom()?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn atom(&mut self) -> Result<Value, String> {
        if self.take("(") {
            let value = self.or()?;
            return self.closed(value, ")");
        }
        for (name, convert) in CONVERSIONS {
            if self.take(&format!("{name}(")) {
                let value = self.or()?;
                let value = convert(&value).ok_or_else(|| format!("{name}({value}) is nothing"))?;
                return self.closed(value, ")");
            }
        }
        if self.take("inputs.parameter_values[") {
            let name = self.text()?;
            let value = self.parameters.get(&name).cloned();
            let value = value.ok_or_else(|| format!("no such key: {name}"))?;
            return self.closed(value, "]");
        }
        for (word, value) in [
            ("true", json!(true)),
            ("false", json!(false)),
            ("null", Value::Null),
        ] {
            if self.take(word) {
                return Ok(value);
            }
        }
        if self.rest.starts_with(['\'', '"']) {
            return self.text().map(Value::String);
        }
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | 'e'))
            .unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        let value = number
            .parse::<f64>()
            .map_err(|_| format!("`{}` is no value", self.rest))?;
        self.rest = rest;
        Ok(json!(value))
    }

    fn closed(&mut self, value: Value, end: &str) -> Result<Value, String> {
        if self.take(end) {
            Ok(value)
        } else {
            Err(format!("`{end}` is missing before `{}`", self.rest))
        }
    }

    fn text(&mut self) -> Result<String, String> {
        self.blanks();
        let mut chars = self.rest.char_indices();
        let quote = chars
            .next()
            .map(|(_, c)| c)
            .filter(|c| matches!(c, '\'' | '"'));
        let quote = quote.ok_or_else(|| format!("a text is missing before `{}`", self.rest))?;
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                _ if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Ok(text);
                }
                _ => text.push(c),
            }
        }
        Err("a text does not end".to_owned())
    }
}

type Convert = fn(&Value) -> Option<Value>;

const CONVERSIONS: [(&str, Convert); 4] = [
    ("int", |value| number(value).map(|n| json!(n.trunc()))),
    ("double", |value| number(value).map(|n| json!(n))),
    ("string", |value| Some(json!(text(value)))),
    ("bool", |value| {
        text(value)
            .to_lowercase()
            .parse::<bool>()
            .ok()
            .map(Value::Bool)
    }),
];

fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn truth(value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| format!("{value} is neither true nor false"))
}

fn compare(operator: &str, left: &Value, right: &Value) -> Result<bool, String> {
    let order = match (left, right) {
        (Value::Number(_), Value::Number(_)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    let equal = order.map_or_else(|| left == right, std::cmp::Ordering::is_eq);
    match (operator, order) {
        ("==", _) => Ok(equal),
        ("!=", _) => Ok(!equal),
        ("<", Some(order)) => Ok(order.is_lt()),
        ("<=", Some(order)) => Ok(order.is_le()),
        (">", Some(order)) => Ok(order.is_gt()),
        (_, Some(order)) => Ok(order.is_ge()),
        (_, None) => Err(format!("{left} and {right} have no order")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_or_do_not() {
        let parameters = json!({"a": "x", "n": 3, "it's": true});
        let parameters = parameters.as_object().unwrap();
        for (text, wanted) in [
            ("inputs.parameter_values['a'] == 'x'", true),
            ("!(inputs.parameter_values['a'] == 'x')", false),
            (
                "inputs.parameter_values['a'] != \"y\" && int(inputs.parameter_values['n']) > 2",
                true,
            ),
            ("inputs.parameter_values['n'] >= 3.5 || false", false),
            ("double('2.5') < 2.6", true),
            ("inputs.parameter_values['it\\'s'] == true", true),
        ] {
            assert_eq!(holds(text, parameters), Ok(wanted), "{text}");
        }
        for bad in [
            "",
            "1",
            "'a' < 1",
            "inputs.parameter_values['no'] == 1",
            "(true",
            &"(".repeat(1000),
        ] {
            assert!(holds(bad, parameters).is_err(), "{bad}");
        }
    }
}
