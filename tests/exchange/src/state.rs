//! Everything the server knows, in one plain value behind one lock. Nothing here waits or does I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::event::{Event, Happening, Subscription};
use crate::fault::Rule;
use crate::item::{Change, Item};
use crate::keeping::Kept;
use crate::mailbox::Mailbox;
use crate::options::Options;
use crate::report::{Handed, Request};
use crate::sent_copy::Late;
use crate::soap::Refusal;

/// Somebody who may sign in.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// An address, `DOMAIN\user` or a bare name.
    pub(crate) login: String,
    pub(crate) password: String,
    pub(crate) tokens: BTreeSet<String>,
    pub(crate) mailbox: Option<usize>,
    pub(crate) impersonates: Impersonates,
}

/// Whom an account may impersonate.
#[derive(Clone, Debug, Default)]
pub(crate) enum Impersonates {
    #[default]
    Nobody,
    Some(BTreeSet<String>),
    Everybody,
}

/// What the directory knows beside mailboxes.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    List { name: String, address: String, members: Vec<String> },
    Contact { name: String, address: String },
}

/// Connections now and at most.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Connections {
    /// Open at this moment.
    pub now: usize,
    /// The most that were open at once.
    pub most: usize,
}

impl Connections {
    pub(crate) fn opened(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }

    pub(crate) fn closed(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) mailboxes: Vec<Mailbox>,
    /// The mailbox of each address and alias, in lower case.
    addresses: HashMap<String, usize>,
    pub(crate) accounts: Vec<Account>,
    /// The account of each login, in lower case.
    logins: HashMap<String, usize>,
    pub(crate) directory: Vec<Entry>,
    /// Recipients that are refused, with the words of the report.
    pub(crate) refused: BTreeMap<String, String>,
    /// Where autodiscover sends an address: to another address, or to another URL.
    pub(crate) redirects: BTreeMap<String, Redirect>,
    pub(crate) handed: Vec<Handed>,
    pub(crate) requests: Vec<Request>,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    pub(crate) connections: Connections,
    pub(crate) connections_of: BTreeMap<String, Connections>,
    pub(crate) authority: String,
    pub(crate) late: Vec<Late>,
    sequence: u64,
    /// Raised whenever something happened that a subscription may wait for.
    pub(crate) happened: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Redirect {
    Address(String),
    Url(String),
}

impl State {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            mailboxes: Vec::new(),
            addresses: HashMap::new(),
            logins: HashMap::new(),
            accounts: Vec::new(),
            directory: Vec::new(),
            refused: BTreeMap::new(),
            redirects: BTreeMap::new(),
            handed: Vec::new(),
            requests: Vec::new(),
            counts: BTreeMap::new(),
            rules: Vec::new(),
            subscriptions: BTreeMap::new(),
            connections: Connections::default(),
            connections_of: BTreeMap::new(),
            authority: String::new(),
            late: Vec::new(),
            sequence: 0,
            happened: watch::Sender::new(0),
        }
    }

    /// The next number of the one sequence that orders everything.
    pub(crate) fn tick(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The mailbox of an address or alias.
    pub(crate) fn place_of(&self, address: &str) -> Option<usize> {
        self.addresses.get(&address.trim().to_lowercase()).copied()
    }

    /// Goes on with what was kept.
    pub(crate) fn restore(&mut self, kept: Kept) {
        self.sequence = kept.sequence;
        for mailbox in &kept.mailboxes {
            self.addresses.insert(mailbox.address.to_lowercase(), mailbox.place);
            for alias in &mailbox.aliases {
                self.addresses.insert(alias.clone(), mailbox.place);
            }
        }
        self.mailboxes = kept.mailboxes;
    }

    /// A mailbox; one that was kept is as it was.
    pub(crate) fn add_mailbox(&mut self, address: &str, name: &str) -> usize {
        if let Some(kept) = self.place_of(address) {
            return kept;
        }
        let place = self.mailboxes.len();
        let mut sequence = self.sequence;
        let mailbox = Mailbox::new(place, address, name, || {
            sequence += 1;
            sequence
        });
        self.sequence = sequence;
        self.mailboxes.push(mailbox);
        self.addresses.insert(address.to_lowercase(), place);
        place
    }

    /// Gives a mailbox another address.
    pub(crate) fn add_alias(&mut self, place: usize, alias: &str) {
        let alias = alias.to_lowercase();
        self.addresses.insert(alias.clone(), place);
        self.mailboxes[place].aliases.insert(alias);
    }

    pub(crate) fn add_account(&mut self, account: Account) {
        self.logins.insert(account.login.to_lowercase(), self.accounts.len());
        self.accounts.push(account);
    }

    /// The account of exactly this login.
    pub(crate) fn account(&self, login: &str) -> Option<&Account> {
        self.logins.get(&login.to_lowercase()).map(|place| &self.accounts[*place])
    }

    /// Puts an item into a folder and tells who waits; `new_mail` when it was delivered.
    pub(crate) fn put(&mut self, place: usize, folder: u64, mut item: Item, new_mail: bool) -> u64 {
        let number = self.tick();
        item.number = number;
        item.folder = folder;
        item.entered = number;
        item.changes.clear();
        let associated = item.associated;
        self.mailboxes[place].items.insert(number, item);
        if !associated {
            self.happen(place, Happening::Created, number, folder, None);
            if new_mail {
                self.happen(place, Happening::NewMail, number, folder, None);
            }
        }
        number
    }

    /// Notes that an item changed.
    pub(crate) fn touch(&mut self, place: usize, number: u64, change: Change, now: Timestamp) {
        let at = self.tick();
        let Some(item) = self.mailboxes[place].items.get_mut(&number) else { return };
        item.changes.push((at, change));
        item.modified = now;
        let folder = item.folder;
        self.happen(place, Happening::Modified, number, folder, None);
    }

    /// Takes an item out of its folder and says so.
    pub(crate) fn remove(&mut self, place: usize, number: u64) -> Result<Item, Refusal> {
        let item = self.take(place, number)?;
        // The exceptions of a series go with it.
        self.mailboxes[place]
            .items
            .retain(|_, item| item.occurrence_of.is_none_or(|(master, _)| master != number));
        self.happen(place, Happening::Deleted, number, item.folder, None);
        Ok(item)
    }

    /// Moves an item: it gets a new number, and with it a new id, but keeps its search key.
    pub(crate) fn relocate(
        &mut self,
        place: usize,
        number: u64,
        to: usize,
        folder: u64,
    ) -> Result<u64, Refusal> {
        let item = self.take(place, number)?;
        let from = item.folder;
        let new = self.tick();
        let item = Item { number: new, folder, entered: new, changes: Vec::new(), ..item };
        self.mailboxes[to].items.insert(new, item);
        for exception in self.mailboxes[place].items.values_mut() {
            if let Some((master, _)) = &mut exception.occurrence_of
                && *master == number
            {
                *master = new;
            }
        }
        if place == to {
            self.happen(place, Happening::Moved, new, folder, Some((number, from)));
        } else {
            self.happen(place, Happening::Deleted, number, from, None);
            self.happen(to, Happening::Created, new, folder, None);
        }
        Ok(new)
    }

    /// Removes a folder with everything below it.
    pub(crate) fn remove_folder(&mut self, place: usize, number: u64) {
        let mut all = self.mailboxes[place].below(number);
        all.push(number);
        for number in all {
            let items: Vec<u64> = self.mailboxes[place]
                .items
                .values()
                .filter(|item| item.folder == number)
                .map(|item| item.number)
                .collect();
            for item in items {
                let _ = self.remove(place, item);
            }
            let at = self.tick();
            let mailbox = &mut self.mailboxes[place];
            if let Some(folder) = mailbox.folders.remove(&number) {
                mailbox.gone.push((number, folder.entered, at));
            }
        }
    }

    fn take(&mut self, place: usize, number: u64) -> Result<Item, Refusal> {
        let at = self.tick();
        let mailbox = &mut self.mailboxes[place];
        let item = mailbox.items.remove(&number).ok_or_else(Refusal::item_not_found)?;
        if let Some(folder) = mailbox.folders.get_mut(&item.folder) {
            folder.gone.push((number, item.entered, at));
        }
        Ok(item)
    }

    /// Tells the subscriptions that wait for it.
    pub(crate) fn happen(
        &mut self,
        place: usize,
        what: Happening,
        item: u64,
        folder: u64,
        old: Option<(u64, u64)>,
    ) {
        let event = Event { what, when: model::clock::now(), watermark: self.tick(), item, folder, old };
        for subscription in self.subscriptions.values_mut() {
            if subscription.mailbox == place && subscription.waits_for(&event) {
                subscription.queue.push_back(event.clone());
            }
        }
        self.happened.send_replace(self.sequence);
    }

    /// What waits for a subscription, taken out of it.
    pub(crate) fn drain(&mut self, subscription: &str) -> VecDeque<Event> {
        self.subscriptions
            .get_mut(subscription)
            .map(|subscription| std::mem::take(&mut subscription.queue))
            .unwrap_or_default()
    }
}
