//! A running server, and what a test may do to it from outside.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::certificates::Certificates;
use crate::delivery;
use crate::error::Error;
use crate::fault::Rule;
use crate::http;
use crate::keeping;
use crate::look::{self, Shown};
use crate::mime;
use crate::options::Options;
use crate::report::{Handed, Request};
use crate::sent_copy;
use crate::state::{Account, Connections, Entry, Impersonates, Redirect, State};

/// A running server; dropping it ends every connection and closes its port. It lives on a thread of its own, so that a
/// test binary may share one among tests whose runtimes end.
pub struct Exchange {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    state: Arc<Mutex<State>>,
    _owner: oneshot::Sender<()>,
}

impl Exchange {
    /// Starts a server.
    ///
    /// # Panics
    /// When no port or no certificate can be had.
    #[expect(clippy::unused_async, reason = "servers are started alike")]
    pub async fn start(options: Options) -> Self {
        match Self::try_start(options) {
            Ok(exchange) => exchange,
            Err(error) => panic!("cannot start an Exchange: {error}"),
        }
    }

    /// Starts a server, or says why that cannot be.
    pub fn try_start(options: Options) -> Result<Self, Error> {
        let certificates = match &options.certificate {
            Some((chain, key)) => {
                Certificates { authority: chain.clone(), chain: chain.clone(), key: key.clone() }
            }
            None => Certificates::issue(&options.names)?,
        };
        let acceptor = certificates.acceptor()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port.unwrap_or(0)));
        let doing = || Error::io(format!("cannot listen on {address}"));
        let listener = std::net::TcpListener::bind(address).map_err(doing())?;
        listener.set_nonblocking(true).map_err(doing())?;
        let port = listener.local_addr().map_err(doing())?.port();
        let data = options.data.clone();
        let mut state = State::new(options);
        state.authority = certificates.authority;
        if let Some(kept) = data.as_deref().map(keeping::read).transpose()?.flatten() {
            state.restore(kept);
        }
        let read = state.sequence();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(doing())?;
        let state = Arc::new(Mutex::new(state));
        let (owner, gone) = oneshot::channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = gone => {}
                    () = http::serve(listener, acceptor, port, Arc::clone(&shared)) => {}
                    () = keeping::keep(&shared, data, read) => {}
                }
            });
        });
        Ok(Self { port, state, _owner: owner })
    }

    /// Writes the mailboxes to the file that they are kept in, if there is one. Dropping the server does so as well.
    pub fn save(&self) -> Result<(), Error> {
        let file = self.lock().options.data.clone();
        file.map_or(Ok(()), |file| keeping::save(&self.state, &file, u64::MAX).map(drop))
    }

    /// The endpoint of Exchange Web Services.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/EWS/Exchange.asmx", self.port)
    }

    /// The certificate of its authority, as PEM.
    pub fn ca_pem(&self) -> String {
        self.lock().authority.clone()
    }

    /// Adds a mailbox with all its folders; its address is the login.
    pub fn add_mailbox(&self, address: &str, name: &str, password: &str) {
        let mut state = self.lock();
        let place = state.add_mailbox(address, name);
        state.add_account(Account {
            login: address.to_owned(),
            password: password.to_owned(),
            tokens: BTreeSet::default(),
            mailbox: Some(place),
            impersonates: Impersonates::Nobody,
        });
    }

    /// Adds somebody who may sign in and has no mailbox, such as a service account.
    pub fn add_account(&self, login: &str, password: &str) {
        self.lock().add_account(Account {
            login: login.to_owned(),
            password: password.to_owned(),
            tokens: BTreeSet::default(),
            mailbox: None,
            impersonates: Impersonates::Nobody,
        });
    }

    /// Makes a token good for a login; `false` takes it away.
    pub fn set_token(&self, login: &str, token: &str, good: bool) {
        self.account(login, |account| {
            if good {
                account.tokens.insert(token.to_owned());
            } else {
                account.tokens.remove(token);
            }
        });
    }

    /// Changes a password.
    pub fn set_password(&self, login: &str, password: &str) {
        self.account(login, |account| password.clone_into(&mut account.password));
    }

    /// Lets a login impersonate every mailbox.
    pub fn allow_impersonation(&self, login: &str) {
        self.account(login, |account| account.impersonates = Impersonates::Everybody);
    }

    /// Lets a login impersonate these mailboxes only; an empty list is nobody.
    pub fn allow_impersonation_of(&self, login: &str, mailboxes: &[&str]) {
        let mailboxes = mailboxes.iter().map(|mailbox| mailbox.to_lowercase()).collect();
        self.account(login, |account| account.impersonates = Impersonates::Some(mailboxes));
    }

    /// Lets a login open another's mailbox without impersonation, or no longer.
    pub fn set_delegate(&self, mailbox: &str, login: &str, allowed: bool) {
        self.mailbox(mailbox, |mailbox| {
            let login = login.to_lowercase();
            if allowed {
                mailbox.delegates.insert(login);
            } else {
                mailbox.delegates.remove(&login);
            }
        });
    }

    /// Lets a login send as a mailbox.
    pub fn allow_send_as(&self, mailbox: &str, login: &str) {
        self.mailbox(mailbox, |mailbox| {
            mailbox.send_as.insert(login.to_lowercase());
        });
    }

    /// Lets a login send on behalf of a mailbox: `Sender` names who did.
    pub fn allow_send_on_behalf(&self, mailbox: &str, login: &str) {
        self.mailbox(mailbox, |mailbox| {
            mailbox.on_behalf.insert(login.to_lowercase());
        });
    }

    /// Gives a mailbox another address.
    pub fn add_alias(&self, mailbox: &str, alias: &str) {
        let mut state = self.lock();
        let place = expect(&state, mailbox);
        state.add_alias(place, alias);
    }

    /// Adds a distribution list.
    pub fn add_list(&self, address: &str, name: &str, members: &[&str]) {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.lock().directory.push(Entry::List {
            name: name.to_owned(),
            address: address.to_owned(),
            members,
        });
    }

    /// Adds a mail contact: somebody outside whom the directory knows.
    pub fn add_contact(&self, address: &str, name: &str) {
        self.lock().directory.push(Entry::Contact { name: name.to_owned(), address: address.to_owned() });
    }

    /// Refuses a recipient from now on: what is sent there comes back with these words.
    pub fn refuse_recipient(&self, address: &str, words: &str) {
        self.lock().refused.insert(address.to_lowercase(), words.to_owned());
    }

    /// Answers everything about a mailbox with this code, such as `ErrorMailboxStoreUnavailable`; `None` ends that.
    pub fn refuse_mailbox(&self, mailbox: &str, code: Option<&str>) {
        self.mailbox(mailbox, |mailbox| {
            mailbox.refuses =
                code.map(|code| (code.to_owned(), format!("The mailbox cannot be opened: {code}.")));
        });
    }

    /// Sends autodiscover for an address to another address.
    pub fn redirect_address(&self, address: &str, to: &str) {
        self.lock().redirects.insert(address.to_lowercase(), Redirect::Address(to.to_owned()));
    }

    /// Sends autodiscover for an address to another URL.
    pub fn redirect_url(&self, address: &str, to: &str) {
        self.lock().redirects.insert(address.to_lowercase(), Redirect::Url(to.to_owned()));
    }

    /// Delivers a message from outside into a mailbox's inbox.
    ///
    /// # Panics
    /// When there is no such mailbox.
    pub fn deliver(&self, mailbox: &str, message: &[u8]) {
        let mut state = self.lock();
        let place = expect(&state, mailbox);
        let _ = delivery::arrive(&mut state, place, "inbox", message, model::clock::now());
    }

    /// Puts a message into a folder as it is, received at `received`, read or not. A folder is a distinguished name or a
    /// path below the top; its id is returned.
    ///
    /// # Panics
    /// When there is no such mailbox or folder.
    pub fn put(
        &self,
        mailbox: &str,
        folder: &str,
        message: &[u8],
        received: jiff::Timestamp,
        read: bool,
    ) -> String {
        let mut state = self.lock();
        let place = expect(&state, mailbox);
        let Some(folder) = state.mailboxes[place].find(folder) else { panic!("no folder {folder}") };
        let mut item = mime::read(message, received);
        item.read = read;
        let number = state.put(place, folder, item, !read);
        crate::id::Id::Item { mailbox: place, number }.encode()
    }

    /// Changes the class of an item, such as to one that MIME cannot say.
    pub fn set_class(&self, id: &str, class: &str) {
        self.change(id, |item| class.clone_into(&mut item.class));
    }

    /// Marks an item read or unread, as its owner would.
    pub fn set_read(&self, id: &str, read: bool) {
        let mut state = self.lock();
        look::change(&mut state, id, crate::item::Change::ReadFlag, |item| item.read = read);
    }

    /// Renames an item's subject, as its owner would.
    pub fn set_subject(&self, id: &str, subject: &str) {
        self.change(id, |item| item.set_text("Subject", subject));
    }

    /// Gives an item the search key of another one, as a copy has it.
    pub fn set_search_key(&self, id: &str, key: &[u8]) {
        self.change(id, |item| {
            for (to, from) in item.search_key.iter_mut().zip(key) {
                *to = *from;
            }
        });
    }

    /// Moves an item to another folder of its mailbox, as its owner would; the new id is returned.
    ///
    /// # Panics
    /// When there is no such item or folder.
    pub fn relocate(&self, id: &str, folder: &str) -> String {
        let mut state = self.lock();
        look::relocate(&mut state, id, folder)
    }

    /// Deletes an item for good, as its owner would.
    pub fn remove(&self, id: &str) {
        let mut state = self.lock();
        look::remove(&mut state, id);
    }

    /// Makes a folder below the top of a mailbox.
    pub fn add_folder(&self, mailbox: &str, name: &str) {
        let mut state = self.lock();
        let place = expect(&state, mailbox);
        look::add_folder(&mut state, place, "msgfolderroot", name);
    }

    /// Makes a folder inside another one, which is a distinguished name or a path below the top.
    ///
    /// # Panics
    /// When there is no such mailbox or folder.
    pub fn add_folder_in(&self, mailbox: &str, parent: &str, name: &str) {
        let mut state = self.lock();
        let place = expect(&state, mailbox);
        look::add_folder(&mut state, place, parent, name);
    }

    /// Gives a folder another name, as its owner would.
    ///
    /// # Panics
    /// When there is no such mailbox or folder.
    pub fn rename_folder(&self, mailbox: &str, path: &str, name: &str) {
        let mut state = self.lock();
        let place = expect(&state, mailbox);
        look::change_folder(&mut state, place, path, |folder| name.clone_into(&mut folder.name));
    }

    /// Moves a folder into another one, as its owner would.
    ///
    /// # Panics
    /// When there is no such mailbox or folder.
    pub fn move_folder(&self, mailbox: &str, path: &str, to: &str) {
        let mut state = self.lock();
        let place = expect(&state, mailbox);
        let Some(to) = state.mailboxes[place].find(to) else { panic!("no folder {to}") };
        look::change_folder(&mut state, place, path, |folder| folder.parent = Some(to));
    }

    /// Deletes a folder for good with everything in it, as its owner would.
    ///
    /// # Panics
    /// When there is no such mailbox or folder.
    pub fn remove_folder(&self, mailbox: &str, path: &str) {
        let mut state = self.lock();
        let place = expect(&state, mailbox);
        let Some(number) = state.mailboxes[place].find(path) else { panic!("no folder {path}") };
        state.remove_folder(place, number);
    }

    /// What is in a folder, oldest first.
    ///
    /// # Panics
    /// When there is no such mailbox or folder.
    pub fn folder(&self, mailbox: &str, folder: &str) -> Vec<Shown> {
        let mut state = self.lock();
        sent_copy::settle(&mut state);
        let place = expect(&state, mailbox);
        look::folder(&state.mailboxes[place], folder)
    }

    /// Brings every sent copy that is late to its folder, now.
    pub fn bring_sent_copies(&self) {
        sent_copy::settle_all(&mut self.lock());
    }

    /// Every message that was sent, oldest first.
    pub fn handed(&self) -> Vec<Handed> {
        self.lock().handed.clone()
    }

    /// The latest requests, oldest first; the oldest are forgotten when there are many.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// How often an operation was asked for since the start.
    pub fn count(&self, operation: &str) -> u64 {
        self.lock().counts.get(operation).copied().unwrap_or_default()
    }

    /// Switches a fault on.
    pub fn fault(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Switches all faults off.
    pub fn heal(&self) {
        self.lock().rules.clear();
    }

    /// Connections now and at most.
    pub fn connections(&self) -> Connections {
        self.lock().connections
    }

    /// Connections that were used for a mailbox, now and at most.
    pub fn connections_of(&self, mailbox: &str) -> Connections {
        self.lock().connections_of.get(&mailbox.to_lowercase()).copied().unwrap_or_default()
    }

    /// Subscriptions that are open.
    pub fn subscriptions(&self) -> usize {
        self.lock().subscriptions.len()
    }

    /// Forgets every subscription, as a server that was started anew has.
    pub fn forget_subscriptions(&self) {
        let mut state = self.lock();
        state.subscriptions.clear();
        let now = state.tick();
        state.happened.send_replace(now);
    }

    /// Changes how the server behaves from now on.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.lock().options);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account(&self, login: &str, change: impl FnOnce(&mut Account)) {
        let mut state = self.lock();
        match state.accounts.iter_mut().find(|account| account.login.eq_ignore_ascii_case(login)) {
            Some(account) => change(account),
            None => panic!("nobody is called {login}: add the account first"),
        }
    }

    fn mailbox(&self, address: &str, change: impl FnOnce(&mut crate::mailbox::Mailbox)) {
        let mut state = self.lock();
        let place = expect(&state, address);
        change(&mut state.mailboxes[place]);
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut crate::item::Item)) {
        let mut state = self.lock();
        look::change(&mut state, id, crate::item::Change::Content, change);
    }
}

fn expect(state: &State, mailbox: &str) -> usize {
    match state.place_of(mailbox) {
        Some(place) => place,
        None => panic!("there is no mailbox {mailbox}: add it first"),
    }
}

impl Drop for Exchange {
    #[expect(clippy::print_stderr, reason = "who started it learns that nothing was kept")]
    fn drop(&mut self) {
        if let Err(error) = self.save() {
            eprintln!("{error}");
        }
    }
}
