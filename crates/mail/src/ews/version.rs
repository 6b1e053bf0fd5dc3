//! Which schema is spoken: the newest that both sides know.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/requestserverversion>

use std::fmt;
use std::str::FromStr;

use super::xml::Element;

/// A version of the schema. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Exchange 2007 with its first service pack.
    Exchange2007Sp1,
    /// Exchange 2010.
    Exchange2010,
    /// Exchange 2010 with its first service pack.
    Exchange2010Sp1,
    /// Exchange 2010 with its second service pack.
    Exchange2010Sp2,
    /// Exchange 2013.
    Exchange2013,
    /// Exchange 2013 with its first service pack.
    Exchange2013Sp1,
    /// Exchange 2016 and everything since.
    Exchange2016,
}

impl Version {
    const ALL: [Self; 7] = [
        Self::Exchange2007Sp1,
        Self::Exchange2010,
        Self::Exchange2010Sp1,
        Self::Exchange2010Sp2,
        Self::Exchange2013,
        Self::Exchange2013Sp1,
        Self::Exchange2016,
    ];

    /// The newest that is spoken here.
    pub const NEWEST: Self = Self::Exchange2016;

    /// The name in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exchange2007Sp1 => "Exchange2007_SP1",
            Self::Exchange2010 => "Exchange2010",
            Self::Exchange2010Sp1 => "Exchange2010_SP1",
            Self::Exchange2010Sp2 => "Exchange2010_SP2",
            Self::Exchange2013 => "Exchange2013",
            Self::Exchange2013Sp1 => "Exchange2013_SP1",
            Self::Exchange2016 => "Exchange2016",
        }
    }

    /// The next older one.
    pub(super) fn older(self) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|version| *version < self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no version known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version of Exchange's schema that is spoken here, such as Exchange2013_SP1")]
pub struct UnknownVersion;

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(UnknownVersion)
    }
}

/// What the server says it is, in the header of every answer. For people to read: nothing is decided by it.
///
/// <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/serverversioninfo>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerVersion {
    /// 8 is Exchange 2007, 14 is 2010, 15 everything since.
    pub major: u32,
    /// Within 15: 0 is 2013, 1 is 2016, 2 is 2019, 20 is Exchange Online.
    pub minor: u32,
    /// The build.
    pub build: u32,
}

impl ServerVersion {
    /// From `ServerVersionInfo`, where the server says it.
    pub(super) fn read(header: &Element) -> Option<Self> {
        let said = header.child("ServerVersionInfo")?;
        let number = |name| said.attribute(name).and_then(|value| value.parse().ok());
        Some(Self {
            major: number("MajorVersion")?,
            minor: number("MinorVersion").unwrap_or_default(),
            build: number("MajorBuildNumber").unwrap_or_default(),
        })
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_step_down_one_by_one_and_keep_their_names() {
        let mut version = Version::NEWEST;
        let mut steps = 1;
        while let Some(older) = version.older() {
            assert!(older < version);
            assert_eq!(older.as_str().parse(), Ok(older));
            version = older;
            steps += 1;
        }
        assert_eq!((version, steps), (Version::Exchange2007Sp1, Version::ALL.len()));
        assert_eq!("Exchange2003".parse::<Version>(), Err(UnknownVersion));
    }

    #[test]
    fn what_the_server_says_it_is_may_be_missing_in_part() {
        let header =
            |inner: &str| Element::parse(format!("<s:Header>{inner}</s:Header>").as_bytes()).unwrap();
        let said = header(
            r#"<h:ServerVersionInfo MajorVersion="15" MinorVersion="2" MajorBuildNumber="1118" MinorBuildNumber="7" Version="V2017_07_11" xmlns:h="x"/>"#,
        );
        assert_eq!(ServerVersion::read(&said).unwrap().to_string(), "15.2.1118");
        assert_eq!(
            ServerVersion::read(&header(r#"<ServerVersionInfo MajorVersion="8"/>"#)).unwrap().major,
            8
        );
        assert_eq!(ServerVersion::read(&header("<ServerVersionInfo/>")), None);
        assert_eq!(ServerVersion::read(&header("")), None);
    }
}
