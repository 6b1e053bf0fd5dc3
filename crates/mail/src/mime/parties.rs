//! Addresses of headers as the foreign parser found them, made into parties that can be stored.

use mail_parser::{Addr, Address, HeaderValue};
use model::message::{ParseWarning, Party};

use super::decode::Warnings;
use super::fields::Fields;
use super::limits::Limits;
use super::mask;
use super::words;

/// Collects the parties of one message under one bound.
pub(crate) struct Parties<'l> {
    limits: &'l Limits,
    left: usize,
}

impl<'l> Parties<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self { limits, left: limits.parties }
    }

    /// The parties of the first field with this name, in order, group members among them: who wrote a message must
    /// not depend on a field that somebody put behind the real one.
    pub(crate) fn authors(&mut self, fields: &Fields<'_>, name: &str, warnings: &mut Warnings) -> Vec<Party> {
        self.read(fields, name, 1, warnings)
    }

    /// The parties of every field with this name.
    pub(crate) fn recipients(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        warnings: &mut Warnings,
    ) -> Vec<Party> {
        self.read(fields, name, usize::MAX, warnings)
    }

    fn read(&mut self, fields: &Fields<'_>, name: &str, most: usize, warnings: &mut Warnings) -> Vec<Party> {
        let mut parties = Vec::new();
        for value in fields.addresses(name, most) {
            let HeaderValue::Address(address) = value else { continue };
            let found: Vec<Addr<'_>> = match address {
                Address::List(list) => list,
                Address::Group(groups) => groups.into_iter().flat_map(|group| group.addresses).collect(),
            };
            let limit = self.limits.header_text_bytes;
            for party in found.iter().filter_map(|addr| party(addr, limit)) {
                if self.left == 0 {
                    warnings.insert(ParseWarning::TooManyParties);
                    return parties;
                }
                self.left -= 1;
                parties.push(party);
            }
        }
        parties
    }
}

/// A party needs an address; a lone word such as `MAILER-DAEMON` is one, to its own server.
fn party(addr: &Addr<'_>, limit: usize) -> Option<Party> {
    let name = addr.name.as_deref().map(|name| words::name(name, limit)).filter(|name| !name.is_empty());
    let address = match (&addr.address, &name) {
        // A quoted local part outside of angle brackets comes as a name before the domain.
        (Some(domain), Some(local)) if domain.starts_with('@') => {
            bare_address(&format!("\"{local}\"{domain}"), limit)
        }
        (Some(address), _) => bare_address(address, limit),
        (None, Some(word)) if !word.contains(char::is_whitespace) => bare_address(word, limit),
        (None, _) => return None,
    };
    let (name, address) = (name.map(|name| mask::show(&name)), mask::show(&address));
    let name = name.filter(|name| *name != address);
    (!address.is_empty()).then_some(Party { name, address })
}

/// An address without white space, brackets, quotes somebody put around it and the route of RFC 5322 section 4.4.
fn bare_address(text: &str, limit: usize) -> String {
    let bare: String = words::one_line(text, usize::MAX)
        .chars()
        .filter(|character| !character.is_whitespace() && !matches!(character, '<' | '>'))
        .collect();
    let mut address = match bare.split_once(':') {
        Some((route, address)) if route.starts_with('@') => address.to_owned(),
        _ => bare,
    };
    if address.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:")) {
        address.drain(..7);
    }
    words::cut(&mut address, limit);
    address
}
