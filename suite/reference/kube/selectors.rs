//! Label and field selectors, in their query and their object forms.

use serde_json::Value;

use super::status::ApiError;

/// One demand on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Demand {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A label selector: all demands must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Demand>);

impl LabelSelector {
    /// Reads the form of query strings: `a=b,c!=d,e in (f,g),h,!i`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let bad = || {
            ApiError::bad_request(format!(
                "unable to parse requirement: {text:?} is not a label selector"
            ))
        };
        let mut demands = Vec::new();
        for part in split(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            demands.push(demand(part).ok_or_else(bad)?);
        }
        Ok(Self(demands))
    }

    /// Reads the form of objects: `matchLabels` and `matchExpressions`.
    pub fn from_object(selector: &Value) -> Self {
        let mut demands = from_map(&selector["matchLabels"]);
        for expression in selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let Some(key) = expression["key"].as_str().map(str::to_owned) else {
                continue;
            };
            let values = expression["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            demands.push(match expression["operator"].as_str() {
                Some("NotIn") => Demand::NotIn(key, values),
                Some("Exists") => Demand::Exists(key),
                Some("DoesNotExist") => Demand::Absent(key),
                _ => Demand::In(key, values),
            });
        }
        Self(demands)
    }

    /// Reads a plain map of labels, as in the selector of a Service.
    pub fn from_labels(labels: &Value) -> Self {
        Self(from_map(labels))
    }

    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's labels fulfil every demand.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|demand| match demand {
            Demand::In(key, values) => labels[key]
                .as_str()
                .is_some_and(|label| values.iter().any(|v| v == label)),
            Demand::NotIn(key, values) => labels[key]
                .as_str()
                .is_none_or(|label| values.iter().all(|v| v != label)),
            Demand::Exists(key) => labels.get(key).is_some(),
            Demand::Absent(key) => labels.get(key).is_none(),
        })
    }

    /// The query form, as the status of a Scale shows it.
    pub fn to_query(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|demand| match demand {
                Demand::In(key, values) if values.len() == 1 => format!("{key}={}", values[0]),
                Demand::In(key, values) => format!("{key} in ({})", values.join(",")),
                Demand::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
                Demand::Exists(key) => key.clone(),
                Demand::Absent(key) => format!("!{key}"),
            })
            .collect();
        parts.join(",")
    }
}

fn from_map(labels: &Value) -> Vec<Demand> {
    labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let value = value.as_str().unwrap_or_default().to_owned();
            Demand::In(key.clone(), vec![value])
        })
        .collect()
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn demand(part: &str) -> Option<Demand> {
    let word = |text: &str| {
        let text = text.trim();
        let fits = !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        fits.then(|| text.to_owned())
    };
    let value = |text: &str| {
        let text = text.trim();
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            .then(|| text.to_owned())
    };
    if let Some(key) = part.strip_prefix('!') {
        return Some(Demand::Absent(word(key)?));
    }
    if let Some((left, list)) = part.strip_suffix(')').and_then(|p| p.split_once('(')) {
        let values = list.split(',').map(value).collect::<Option<Vec<_>>>()?;
        let mut words = left.split_whitespace();
        let (key, operator) = (word(words.next()?)?, words.next()?);
        return match (operator, words.next()) {
            ("in", None) => Some(Demand::In(key, values)),
            ("notin", None) => Some(Demand::NotIn(key, values)),
            _ => None,
        };
    }
    if let Some((key, text)) = part.split_once("!=") {
        return Some(Demand::NotIn(word(key)?, vec![value(text)?]));
    }
    if let Some((key, text)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Demand::In(word(key)?, vec![value(text)?]));
    }
    Some(Demand::Exists(word(part)?))
}

/// A field selector: paths that must (not) equal a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    /// Reads `metadata.name=x,status.phase!=Failed`. Custom resources can only select by name and namespace.
    pub fn parse(text: &str, custom: bool) -> Result<Self, ApiError> {
        const KNOWN: &[&str] = &["metadata.", "status.", "spec.", "involvedObject.", "type"];
        const MORE: &[&str] = &["reason", "reportingComponent", "source"];
        let mut fields = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (path, true, value)
            } else {
                return Err(ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let path = path.trim();
            let known = if custom {
                matches!(path, "metadata.name" | "metadata.namespace")
            } else {
                KNOWN
                    .iter()
                    .chain(MORE)
                    .any(|known| path.starts_with(known))
            };
            if !known {
                return Err(ApiError::bad_request(format!(
                    "field label not supported: {path}"
                )));
            }
            fields.push((path.to_owned(), equal, value.trim().to_owned()));
        }
        Ok(Self(fields))
    }

    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name that every match has, if the selector says so.
    pub fn name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(path, equal, _)| path == "metadata.name" && *equal)
            .map(|(_, _, value)| value.as_str())
    }

    /// Whether an object fulfils every demand. An absent field equals the empty text.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(path, equal, wanted)| {
            let found = path.split('.').fold(object, |value, part| &value[part]);
            let same = match found {
                Value::Null => wanted.is_empty(),
                Value::String(text) => text == wanted,
                other => wanted.parse::<Value>().is_ok_and(|wanted| wanted == *other),
            };
            same == *equal
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_select() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app=db", false),
            ("app!=db", true),
            ("other!=x", true),
            ("app in (web, db)", true),
            ("app notin (web,db)", false),
            ("app,!other", true),
            ("!app", false),
            ("other", false),
            ("app in (db),tier", false),
        ] {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.matches(&object), expected, "{text}");
        }
        for text in ["a in b", "a=(", "a b", "in (a)", "=x"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn object_selectors_select() {
        let selector = LabelSelector::from_object(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}],
        }));
        assert!(
            selector.matches(&json!({"metadata": {"labels": {"app": "web", "tier": "front"}}}))
        );
        assert!(!selector.matches(&json!({"metadata": {"labels": {"app": "web"}}})));
        assert_eq!(selector.to_query(), "app=web,tier=front");
    }

    #[test]
    fn field_selectors_select() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        let matches = |text: &str| FieldSelector::parse(text, false).expect(text).matches(&pod);
        assert!(matches("metadata.name=p,status.phase=Running"));
        assert!(!matches("spec.nodeName!=n"));
        assert!(matches("spec.serviceAccountName="));
        assert!(FieldSelector::parse("spec.x=1", true).is_err());
        assert!(FieldSelector::parse("nonsense", false).is_err());
    }
}
