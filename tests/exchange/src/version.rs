//! The schema versions of Exchange Web Services and how a server names itself.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/requestserverversion>

use crate::soap::Fault;
use crate::xml::Element;

/// A version of the schema, oldest first.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the names are the vendor's own")]
pub enum Version {
    Exchange2007,
    Exchange2007Sp1,
    Exchange2010,
    Exchange2010Sp1,
    Exchange2010Sp2,
    Exchange2013,
    Exchange2013Sp1,
    Exchange2015,
    #[default]
    Exchange2016,
}

const NAMES: [(Version, &str, [u32; 4]); 9] = [
    (Version::Exchange2007, "Exchange2007", [8, 0, 744, 0]),
    (Version::Exchange2007Sp1, "Exchange2007_SP1", [8, 3, 83, 6]),
    (Version::Exchange2010, "Exchange2010", [14, 0, 726, 0]),
    (Version::Exchange2010Sp1, "Exchange2010_SP1", [14, 1, 438, 0]),
    (Version::Exchange2010Sp2, "Exchange2010_SP2", [14, 3, 496, 0]),
    (Version::Exchange2013, "Exchange2013", [15, 0, 620, 29]),
    (Version::Exchange2013Sp1, "Exchange2013_SP1", [15, 0, 1497, 48]),
    (Version::Exchange2015, "Exchange2015", [15, 20, 17, 8]),
    (Version::Exchange2016, "Exchange2016", [15, 1, 2507, 39]),
];

impl Version {
    /// As `RequestServerVersion` says it.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The version of that name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known, _)| *known == name).map(|(version, ..)| *version)
    }

    /// All versions up to this one, oldest first.
    pub(crate) fn supported(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(version, ..)| *version <= self).map(|(_, name, _)| *name)
    }

    /// What a request asked for, against the newest that this server knows.
    pub(crate) fn negotiate(self, asked: Option<&str>) -> Result<Self, Fault> {
        // Without the header a request is of the oldest version.
        let Some(asked) = asked else { return Ok(Self::Exchange2007.min(self)) };
        match Self::named(asked) {
            Some(version) if version <= self => Ok(version),
            _ => Err(Fault::of("ErrorInvalidServerVersion", "The specified server version is invalid.")),
        }
    }

    /// The header that each answer carries.
    pub(crate) fn header(self) -> Element {
        let (_, name, build) = &NAMES[self as usize];
        let mut info = Element::t("ServerVersionInfo");
        for (part, number) in
            ["MajorVersion", "MinorVersion", "MajorBuildNumber", "MinorBuildNumber"].iter().zip(build)
        {
            info = info.attribute(part, number);
        }
        info.attribute("Version", name)
    }

    /// `15.01.2507.039`, as autodiscover and HTTP headers say it.
    pub(crate) fn build(self) -> String {
        let [major, minor, build, revision] = NAMES[self as usize].2;
        format!("{major}.{minor}.{build}.{revision}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_refused_and_an_older_one_is_served() {
        let server = Version::Exchange2013Sp1;
        assert_eq!(server.negotiate(Some("Exchange2010_SP2")).unwrap(), Version::Exchange2010Sp2);
        assert_eq!(server.negotiate(None).unwrap(), Version::Exchange2007);
        for newer in ["Exchange2016", "Exchange2099"] {
            assert_eq!(server.negotiate(Some(newer)).unwrap_err().code, "ErrorInvalidServerVersion");
        }
    }
}
