//! Who writes to whom: the people of the demo's organization and those they do business with.

use super::writing::{Script, Transfer};
use Transfer::{Base64, EightBit, QuotedPrintable, SevenBit};

/// The organization of the demo.
pub(in crate::demo) const ORGANIZATION: &str = "Nordwind Trading";
/// Its domain.
pub(super) const DOMAIN: &str = "nordwind.example";

/// The owner of a mailbox.
#[derive(Clone, Copy, Debug)]
pub(in crate::demo) struct Person {
    /// The name to show.
    pub(in crate::demo) name: &'static str,
    /// The local part of the address.
    pub(in crate::demo) local: &'static str,
    /// A queue rather than a person.
    pub(in crate::demo) queue: bool,
}

impl Person {
    /// The address of the mailbox.
    pub(in crate::demo) fn address(&self) -> String {
        format!("{}@{DOMAIN}", self.local)
    }
}

/// Whose mailboxes the demo has; three people and their support queue.
pub(in crate::demo) const PEOPLE: [Person; 4] = [
    Person { name: "Anna Lindqvist", local: "anna", queue: false },
    Person { name: "Ben Okafor", local: "ben", queue: false },
    Person { name: "Clara Reyes", local: "clara", queue: false },
    Person { name: "Support", local: "support", queue: true },
];

/// Somebody outside, with the habits of a mail program.
pub(super) struct Correspondent {
    pub(super) name: &'static str,
    pub(super) address: &'static str,
    pub(super) company: &'static str,
    pub(super) language: Language,
    pub(super) script: Script,
    /// Writes HTML beside the text.
    pub(super) html: bool,
    /// Shows a logo in that HTML.
    pub(super) logo: bool,
}

/// What somebody writes in, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    German,
    French,
    Japanese,
    Chinese,
    Russian,
}

impl Language {
    /// The conversations in this language.
    pub(super) const fn texts(self) -> &'static str {
        match self {
            Self::English => include_str!("texts/en.txt"),
            Self::German => include_str!("texts/de.txt"),
            Self::French => include_str!("texts/fr.txt"),
            Self::Japanese => include_str!("texts/ja.txt"),
            Self::Chinese => include_str!("texts/zh.txt"),
            Self::Russian => include_str!("texts/ru.txt"),
        }
    }

    /// Hours east of Greenwich.
    pub(super) const fn hours_east(self) -> i8 {
        match self {
            Self::English => 0,
            Self::German | Self::French => 1,
            Self::Russian => 3,
            Self::Chinese => 8,
            Self::Japanese => 9,
        }
    }

    /// How a day is written (strftime).
    pub(super) const fn day(self) -> &'static str {
        match self {
            Self::English => "%-d %B",
            Self::German | Self::Russian => "%d.%m.%Y",
            Self::French => "%d/%m/%Y",
            Self::Japanese | Self::Chinese => "%Y年%-m月%-d日",
        }
    }

    pub(super) const fn cities(self) -> &'static [&'static str] {
        match self {
            Self::English => &["Leeds", "Cork", "Halifax", "Accra", "Chennai"],
            Self::German => &["Köln", "Nürnberg", "Zürich", "Graz"],
            Self::French => &["Besançon", "Nîmes", "Liège", "Orléans"],
            Self::Japanese => &["大阪", "名古屋", "横浜"],
            Self::Chinese => &["上海", "深圳", "成都"],
            Self::Russian => &["Казань", "Самара", "Тула"],
        }
    }
}

pub(super) const PRODUCTS: [&str; 6] =
    ["Aerovent 300", "Thermo H12", "Hydra P7", "Lumo 48", "Polar C2", "Kompakt 90 S"];

const fn writes(
    name: &'static str,
    address: &'static str,
    company: &'static str,
    language: Language,
    script: (&'static str, Transfer),
    html: bool,
    logo: bool,
) -> Correspondent {
    let script = Script::new(script.0, script.1);
    Correspondent { name, address, company, language, script, html, logo }
}

#[rustfmt::skip]
pub(super) const CORRESPONDENTS: [Correspondent; 16] = [
    writes("Grace Mensah", "grace@harbourline.example", "Harbourline Ltd", Language::English, ("us-ascii", SevenBit), false, false),
    writes("Tom O'Brien", "tom.obrien@shannonworks.example", "Shannon Works", Language::English, ("utf-8", QuotedPrintable), true, false),
    writes("Priya Raman", "priya@ramanfoods.example", "Raman Foods", Language::English, ("utf-8", EightBit), true, true),
    writes("Åsa Björk", "asa.bjork@fjallhotell.example", "Fjällhotell AB", Language::English, ("utf-8", Base64), false, false),
    writes("Miller, Dave", "dave@millerandsons.example", "Miller & Sons", Language::English, ("iso-8859-1", QuotedPrintable), true, false),
    writes("Jörg Müller", "j.mueller@mueller-maschinen.example", "Müller Maschinenbau", Language::German, ("iso-8859-1", QuotedPrintable), true, true),
    writes("Kathrin Groß", "kathrin.gross@gross-und-soehne.example", "Groß & Söhne", Language::German, ("iso-8859-1", EightBit), false, false),
    writes("Urs Bänziger", "urs@baenziger.example", "Bänziger AG", Language::German, ("utf-8", QuotedPrintable), true, false),
    writes("Hélène Béranger", "helene@ateliers-beranger.example", "Ateliers Béranger", Language::French, ("iso-8859-1", QuotedPrintable), true, false),
    writes("François Lefèvre", "f.lefevre@lefevre.example", "Lefèvre et fils", Language::French, ("utf-8", EightBit), false, false),
    writes("佐藤 花子", "sato@sakura-kogyo.example", "桜工業株式会社", Language::Japanese, ("iso-2022-jp", SevenBit), false, false),
    writes("田中 健一", "k.tanaka@tanaka-shoji.example", "田中商事", Language::Japanese, ("iso-2022-jp", Base64), true, false),
    writes("王小明", "wang@huadong-trade.example", "华东贸易有限公司", Language::Chinese, ("gb18030", Base64), true, false),
    writes("李娜", "lina@lina-tech.example", "丽娜科技", Language::Chinese, ("gb18030", EightBit), false, false),
    writes("Иван Петров", "petrov@volga-snab.example", "ООО Волгаснаб", Language::Russian, ("koi8-r", EightBit), false, false),
    writes("Ольга Смирнова", "o.smirnova@severmash.example", "Севермаш", Language::Russian, ("koi8-r", Base64), true, false),
];
