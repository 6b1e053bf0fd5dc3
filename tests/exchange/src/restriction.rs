//! Whether an item meets a restriction, and in which order items come.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/restriction>

use std::cmp::Ordering;

use crate::item::Item;
use crate::mailbox::{Folder, Mailbox};
use crate::render;
use crate::schema::{Path, Shape};
use crate::time;
use crate::version::Version;
use crate::xml::{Element, truth};

/// What a restriction may ask of a thing: its values at a path, as text; none when it has none there.
pub(crate) type Values<'a> = dyn Fn(&Path) -> Vec<String> + 'a;

/// The values of an item.
pub(crate) fn item_values<'a>(mailbox: &'a Mailbox, item: &'a Item) -> impl Fn(&Path) -> Vec<String> + 'a {
    move |path| {
        let shape = Shape::of_base("AllProperties");
        match path {
            Path::Extended { key, kind } => {
                render::extended(mailbox, item, key, kind).map(|value| value.texts).unwrap_or_default()
            }
            Path::Indexed { name, part, key } => item
                .field(name)
                .and_then(|all| all.children.iter().find(|entry| entry.value("Key") == Some(key)))
                .map(|entry| match part {
                    Some(part) => entry.child_text(part).unwrap_or_default().to_owned(),
                    None => entry.text.clone(),
                })
                .into_iter()
                .collect(),
            Path::Field(name) => render::field(mailbox, item, item.kind(), name, &shape)
                .map(|element| texts(&element))
                .unwrap_or_default(),
        }
    }
}

/// The values of a folder.
pub(crate) fn folder_values<'a>(
    mailbox: &'a Mailbox,
    folder: &'a Folder,
    version: Version,
) -> impl Fn(&Path) -> Vec<String> + 'a {
    let whole = render::folder(mailbox, folder, &Shape::of_base("AllProperties"), version);
    move |path| match path {
        Path::Field(name) => whole.child(name).map(texts).unwrap_or_default(),
        Path::Extended { key, .. } => {
            folder.extended.get(key).map(|value| value.texts.clone()).unwrap_or_default()
        }
        Path::Indexed { .. } => Vec::new(),
    }
}

/// Whether the values meet a restriction.
pub(crate) fn holds(restriction: &Element, values: &Values<'_>) -> bool {
    let of_path = || match Path::within(restriction) {
        Some(Ok(path)) => values(&path),
        _ => Vec::new(),
    };
    let compare = |wanted: &[Ordering]| {
        let constant = constant(restriction, values);
        // Names of categories and of folders are the same in capitals.
        let folds = matches!(
            Path::within(restriction),
            Some(Ok(Path::Field(name))) if name == "Categories" || name == "DisplayName"
        );
        of_path().iter().any(|value| {
            wanted.contains(&if folds {
                value.to_lowercase().cmp(&constant.to_lowercase())
            } else {
                order(value, &constant)
            })
        })
    };
    match restriction.name.as_str() {
        "And" => restriction.children.iter().all(|inner| holds(inner, values)),
        "Or" => restriction.children.iter().any(|inner| holds(inner, values)),
        "Not" => restriction.children.first().is_some_and(|inner| !holds(inner, values)),
        "Exists" => !of_path().is_empty(),
        "IsEqualTo" => compare(&[Ordering::Equal]),
        "IsNotEqualTo" => !compare(&[Ordering::Equal]),
        "IsGreaterThan" => compare(&[Ordering::Greater]),
        "IsGreaterThanOrEqualTo" => compare(&[Ordering::Greater, Ordering::Equal]),
        "IsLessThan" => compare(&[Ordering::Less]),
        "IsLessThanOrEqualTo" => compare(&[Ordering::Less, Ordering::Equal]),
        "Excludes" => {
            let mask = restriction.child("Bitmask").and_then(|mask| mask.value("Value")).unwrap_or("0");
            let mask =
                mask.strip_prefix("0x").map_or_else(|| mask.parse(), |hex| u64::from_str_radix(hex, 16));
            let mask = mask.unwrap_or_default();
            of_path().iter().all(|value| value.parse::<u64>().unwrap_or_default() & mask == 0)
        }
        "Contains" => {
            let constant =
                restriction.child("Constant").and_then(|value| value.value("Value")).unwrap_or_default();
            let exact = restriction.value("ContainmentComparison").is_none_or(|how| how == "Exact");
            let fold = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
            let constant = fold(constant);
            of_path().iter().any(|value| {
                let value = fold(value);
                match restriction.value("ContainmentMode").unwrap_or("Substring") {
                    "FullString" => value == constant,
                    "Prefixed" => value.starts_with(&constant),
                    "PrefixOnWords" | "ExactPhrase" => {
                        value.starts_with(&constant) || value.contains(&format!(" {constant}"))
                    }
                    _ => value.contains(&constant),
                }
            })
        }
        _ => false,
    }
}

/// What a search string finds: clauses joined by AND, each with or without the name of a property. Every word of a
/// clause is in what it names.
pub(crate) fn found(query: &str, values: &Values<'_>) -> bool {
    let field = |name: &str| values(&Path::Field(name.to_owned())).join(" ").to_lowercase();
    query.split(" AND ").all(|clause| {
        let (property, words) = match clause.split_once(':') {
            Some((property, words)) if property.trim().chars().all(char::is_alphabetic) => {
                (property.trim().to_lowercase(), words)
            }
            _ => (String::new(), clause),
        };
        let names: &[&str] = match property.as_str() {
            "subject" => &["Subject"],
            "body" => &["Body"],
            "from" => &["From"],
            "to" => &["ToRecipients"],
            "participants" => &["From", "ToRecipients", "CcRecipients"],
            "kind" => return true,
            _ => &["Subject", "Body", "From", "ToRecipients"],
        };
        let text = names.iter().map(|name| field(name)).collect::<Vec<_>>().join(" ");
        let words = words.replace('"', " ").to_lowercase();
        words.split_whitespace().all(|word| text.contains(word))
    })
}

/// Which of two things comes first under a `SortOrder`.
pub(crate) fn sorted(order_by: &[Element], one: &Values<'_>, other: &Values<'_>) -> Ordering {
    for field in order_by {
        let Some(Ok(path)) = Path::within(field) else { continue };
        let (one, other) = (one(&path), other(&path));
        let by = match (one.first(), other.first()) {
            (Some(one), Some(other)) => order(one, other),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        let by = if field.value("Order") == Some("Descending") { by.reverse() } else { by };
        if by != Ordering::Equal {
            return by;
        }
    }
    Ordering::Equal
}

fn constant(restriction: &Element, values: &Values<'_>) -> String {
    let Some(other) = restriction.child("FieldURIOrConstant") else { return String::new() };
    match other.child("Constant") {
        Some(constant) => constant.value("Value").unwrap_or_default().to_owned(),
        None => match Path::within(other) {
            Some(Ok(path)) => values(&path).into_iter().next().unwrap_or_default(),
            _ => String::new(),
        },
    }
}

/// Compares as moments, as numbers, as truths, and otherwise as texts.
fn order(one: &str, other: &str) -> Ordering {
    let is_moment = |text: &str| text.len() >= 10 && text.as_bytes().get(4) == Some(&b'-');
    if is_moment(one)
        && is_moment(other)
        && let (Some(one), Some(other)) = (time::read(one), time::read(other))
    {
        return one.cmp(&other);
    }
    if let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) {
        return one.partial_cmp(&other).unwrap_or(Ordering::Equal);
    }
    let is_truth = |text: &str| ["true", "false", "0", "1"].contains(&text.to_lowercase().as_str());
    if is_truth(one) && is_truth(other) {
        return truth(one).cmp(&truth(other));
    }
    one.cmp(other)
}

/// All texts of an element: its own, or those of what it holds.
fn texts(element: &Element) -> Vec<String> {
    if element.children.is_empty() {
        let id = element.value("Id").map(str::to_owned);
        return vec![id.filter(|_| element.text.is_empty()).unwrap_or_else(|| element.text.clone())];
    }
    element.children.iter().flat_map(texts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(name: &str, constant: &str) -> Element {
        Element::t(name)
            .with(Element::t("FieldURI").attribute("FieldURI", "item:Size"))
            .with(Element::t("FieldURIOrConstant").with(Element::t("Constant").attribute("Value", constant)))
    }

    #[test]
    fn comparisons_are_by_the_kind_of_value() {
        for (value, name, constant, expected) in [
            ("9", "IsLessThan", "10", true),
            ("9", "IsGreaterThanOrEqualTo", "9", true),
            ("2026-01-02T00:00:00Z", "IsGreaterThan", "2026-01-02T00:30:00+01:00", true),
            ("true", "IsEqualTo", "1", true),
            ("b", "IsNotEqualTo", "a", true),
            ("b", "IsLessThan", "a", false),
        ] {
            let values = |_: &Path| vec![value.to_owned()];
            assert_eq!(holds(&compared(name, constant), &values), expected, "{value} {name} {constant}");
        }
        let nothing = |_: &Path| Vec::new();
        assert!(!holds(&compared("IsEqualTo", "a"), &nothing));
        assert!(holds(&Element::t("Not").with(compared("IsEqualTo", "a")), &nothing));
    }
}
