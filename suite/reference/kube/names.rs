//! What objects may be called.

use serde_json::json;

use super::registry::ResourceType;
use super::status::FieldError;

/// How the server explains its rule for names of one label.
pub(super) const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SERVICE_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn label_shaped(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty()
        && text.chars().all(|c| plain(c) || c == '-')
        && text.starts_with(plain)
        && text.ends_with(plain)
}

/// RFC 1123 label of at most 63 characters.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && label_shaped(text)
}

/// Checks `metadata.name` by the rule of the type.
pub(super) fn check_name(kind: &ResourceType, name: &str) -> Vec<FieldError> {
    let field = "metadata.name";
    if name.is_empty() {
        return vec![FieldError::required(
            field,
            "name or generateName is required",
        )];
    }
    let shown = json!(name);
    let mut errors = Vec::new();
    let mut longest = |most: usize| {
        if name.len() > most {
            errors.push(FieldError::invalid(
                field,
                &shown,
                &format!("must be no more than {most} characters"),
            ));
        }
    };
    let broken = match (kind.resource.group(), kind.resource.plural()) {
        // Roles of all kinds may be called anything that fits into a path.
        ("rbac.authorization.k8s.io", _) => {
            if name.contains('/') || name.contains('%') || name == "." || name == ".." {
                return vec![FieldError::invalid(field, &shown, "may not contain '/'")];
            }
            return Vec::new();
        }
        ("", "namespaces") => {
            longest(63);
            (!label_shaped(name)).then_some(LABEL_RULE)
        }
        ("", "services") => {
            longest(63);
            let fits = label_shaped(name) && name.starts_with(|c: char| c.is_ascii_lowercase());
            (!fits).then_some(SERVICE_RULE)
        }
        _ => {
            longest(253);
            (!name.split('.').all(label_shaped)).then_some(SUBDOMAIN_RULE)
        }
    };
    errors.extend(broken.map(|rule| FieldError::invalid(field, &shown, rule)));
    errors
}

/// Checks that labels are labels and annotations are texts.
pub(super) fn check_metadata(metadata: &serde_json::Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let Some(text) = value.as_str() else { continue };
        let edge = |c: char| c.is_ascii_alphanumeric();
        let inner = |c: char| edge(c) || "-_.".contains(c);
        let fits = text.is_empty()
            || (text.starts_with(edge) && text.ends_with(edge) && text.chars().all(inner));
        if text.len() > 63 {
            errors.push(FieldError::invalid(
                "metadata.labels",
                value,
                "must be no more than 63 characters",
            ));
        } else if !fits {
            errors.push(FieldError::invalid(
                "metadata.labels",
                value,
                LABEL_VALUE_RULE,
            ));
        }
        let name = key.rsplit('/').next().unwrap_or_default();
        if name.is_empty() || name.len() > 63 || !name.starts_with(edge) || !name.ends_with(edge) {
            errors.push(FieldError::invalid("metadata.labels", &json!(key), "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rfcs() {
        for good in ["a", "a-b", "1"] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-"] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(is_label(&"a".repeat(63)) && !is_label(&"a".repeat(64)) && !is_label("a.b"));
    }
}
