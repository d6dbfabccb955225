//! Every reason of the wire, explained to the person who met it.

use triad_proto::v1::Reason;

/// What a person needs to know about a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What has happened.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// The numbers that people know from FlexNet.
    pub flexnet: &'static [i32],
}

/// The explanation of a reason. A new reason does not compile without one.
pub fn explanation(reason: Reason) -> Explanation {
    let (flexnet, meaning, remedy): (&[i32], _, _) = match reason {
        Reason::Unspecified => (
            &[],
            "The answer gives no reason. No version of Triad sends this.",
            "See that client and nodes are releases of Triad, then look at the node's log.",
        ),
        Reason::NotLeader => (
            &[],
            "The node that was asked does not lead, and only the leader grants and changes. \
             Nothing was done. Clients go on to the leader by themselves.",
            "Ask again in a moment. If it stays, see `triad status`: perhaps nobody leads.",
        ),
        Reason::NoQuorum => (
            &[-97],
            "No leader is followed by a majority of the nodes, so nothing is granted or changed. \
             Who holds seats keeps them until the lease ends.",
            "See `triad status` for the nodes that are missing. Start them, or open the peers' \
             port (27071) between the nodes: two of three must reach each other.",
        ),
        Reason::NotReady => (
            &[],
            "The node is starting, stopping, still waits for the others, or was restored and \
             waits until every lease of before has ended.",
            "See `triad status`: after a restore it says for how long nothing is granted, up to \
             the longest lease. Otherwise the node is ready within seconds, or its log says what \
             it waits for.",
        ),
        Reason::Deadline => (
            &[-52],
            "The answer did not come in time, and it is not known whether the request was done. \
             Clients may safely ask again with the same request id.",
            "Ask again, or wait longer with --timeout. If it stays, look for a slow disk or \
             network in the nodes' logs.",
        ),
        Reason::Overloaded => (
            &[-106],
            "The node is at one of its bounds: sessions, connections, or requests in flight.",
            "Clients wait and ask again by themselves. If it stays, look with `triad sessions` \
             for an application that opens sessions without end.",
        ),
        Reason::NodeUnreachable => (
            &[-15, -96],
            "No node could be reached: nothing listens there, a firewall is in between, or the \
             certificates do not fit.",
            "See that the nodes run, that the servers are named by their client ports (27070), \
             and that --ca is the ca.pem of this cluster.",
        ),
        Reason::NodeRemoved => (
            &[],
            "The calling node was replaced or removed. The cluster goes on without it, and it must \
             not take part again.",
            "Stop that node for good and remove its data. To bring the machine back, let it join \
             as a new node with `triad node add`.",
        ),
        Reason::FailoverOver => (
            &[],
            "The back-up has served in the place of the main server for as long as the publisher \
             allows. Nothing is granted before the main is back; who holds a seat keeps it until \
             its lease ends.",
            "Start the main server. It takes over what the back-up granted, and nobody loses a \
             seat by that.",
        ),
        Reason::LicensesExhausted => (
            &[-4],
            "Every seat of the feature is in use, overdraft included.",
            "See who holds them with `triad checkouts --feature NAME`, and ask again when one \
             comes back.",
        ),
        Reason::FeatureUnknown => (
            &[-5, -18],
            "No license in force names this feature.",
            "Compare the spelling with `triad features`. If it should be there, put its license \
             in force with `triad license apply`.",
        ),
        Reason::VersionNotLicensed => (
            &[-21, -25],
            "The feature is licensed, but only for lower versions than the one asked for.",
            "Use the version that `triad features` shows, or ask the publisher for a license of \
             the newer one.",
        ),
        Reason::FeatureExpired => (
            &[-10],
            "The license for the feature has expired. Its last day counts to the end, in the time \
             zone of the license.",
            "Ask the publisher to renew it, and apply the new license.",
        ),
        Reason::NotYetValid => (
            &[-31],
            "The license for the feature begins later.",
            "Wait for the day that `triad features` shows, or ask the publisher for an earlier one.",
        ),
        Reason::CountExceedsTotal => (
            &[-26],
            "More seats were asked for at once than exist. Waiting does not help.",
            "Ask for fewer seats, or buy more.",
        ),
        Reason::Excluded => (
            &[-38],
            "A rule of the site's policy excludes this user, host or group from the feature.",
            "See the rule and its line with `triad explain FEATURE`, and ask the administrator of the licenses.",
        ),
        Reason::NotIncluded => (
            &[-39],
            "The site's policy includes others for this feature, and not this user or host.",
            "See whom the rules name with `triad explain FEATURE`, and ask the administrator of the licenses to be included.",
        ),
        Reason::PolicyMax => (
            &[-87],
            "The policy's maximum for this user, host or group is in use.",
            "Return a seat of your own, or ask the administrator to raise the maximum. `triad explain FEATURE` shows whose it is.",
        ),
        Reason::AllReserved => (
            &[-101],
            "Seats are free, but the policy reserves them for others.",
            "Wait for a seat that is not reserved, or ask the administrator. `triad features -o wide` shows for whom.",
        ),
        Reason::QueueNonempty => (
            &[-24],
            "Others wait for the feature already, and whoever does not wait goes behind them.",
            "Ask again later, when those who wait have been served: `triad queue` shows them.",
        ),
        Reason::QueueTimedOut => (
            &[],
            "Nothing came free for as long as the request was willing to wait.",
            "Ask again, or be willing to wait longer.",
        ),
        Reason::Cancelled => (
            &[],
            "The application gave the request up while it waited.",
            "Nothing is held, so nothing is to be done.",
        ),
        Reason::Blocked => (
            &[-64],
            "An administrator took the seat back and blocked it for this holder for a while.",
            "Wait until the block is over, or ask the administrator.",
        ),
        Reason::HostNotLicensed => (
            &[-9],
            "The license line is locked to other machines than this one.",
            "Run it on a machine that the license names.",
        ),
        Reason::NoNamedUsers => (
            &[-84],
            "The license is for named users or hosts, and the policy names none.",
            "Let the administrator name them with INCLUDE rules.",
        ),
        Reason::NotNamed => (
            &[],
            "The license is for named users or hosts, and this is none of them.",
            "Ask the administrator of the licenses to be named.",
        ),
        Reason::BorrowOff => (
            &[-68],
            "The license does not allow to borrow this feature.",
            "Stay connected, or ask the publisher for a line that may be borrowed.",
        ),
        Reason::BorrowNotAllowed => (
            &[],
            "The site's policy does not allow this holder to borrow the feature.",
            "Ask the administrator of the licenses.",
        ),
        Reason::BorrowTooLong => (
            &[-104],
            "It was asked for longer than the feature may be borrowed.",
            "Ask for a shorter time.",
        ),
        Reason::BorrowLowwater => (
            &[-67],
            "The policy keeps the remaining seats from being borrowed.",
            "Stay connected, or wait until a borrowed seat comes back.",
        ),
        Reason::CheckoutUnknown => (
            &[-41],
            "The checkout is not held, or not any more.",
            "Nothing is to be done, if it was to be returned. `triad checkouts` shows what is held.",
        ),
        Reason::BorrowedAway => (
            &[],
            "The checkout is borrowed: it stays until its end or its return.",
            "Return it from the machine that borrowed it. If that is lost, say so with `triad borrow lost ID`; the seats come back at the end.",
        ),
        Reason::NotBorrowed => {
            (&[], "The checkout is not borrowed.", "Return it like any other checkout.")
        }
        Reason::PolicySuperseded => (
            &[],
            "A newer version of the policy is in force.",
            "Start again from the policy that is in force: `triad policy show`.",
        ),
        Reason::PolicyMalformed => (
            &[],
            "The policy has errors; none of it was put in force.",
            "See them all, with line, column and remedy, by `triad policy check FILE`.",
        ),
        Reason::SessionUnknown => (
            &[],
            "The session is not open: it was closed, it was silent for a whole lease, or it never \
             was. Its seats are gone.",
            "Start the application again, or let it check out anew. If it happens often, look for \
             machines that sleep, or a network that drops out for longer than the lease.",
        ),
        Reason::RequestForgotten => (
            &[],
            "A request was repeated after the client itself had acknowledged its answer.",
            "This is a defect of the application or its client library: report it to its maker.",
        ),
        Reason::LimitReached => (
            &[],
            "A bound is reached: checkouts of one session, checkouts of the whole ledger, or \
             answers that the client has not acknowledged.",
            "Give back what is not needed. Look with `triad checkouts` for an application that \
             checks out without end.",
        ),
        Reason::SessionTaken => (
            &[],
            "The session id is in use by another holder.",
            "Each process must draw its own session id: see that none is copied with a virtual \
             machine or a container image, and report it to the application's maker.",
        ),
        Reason::InvalidRequest => (
            &[],
            "Something in the request is malformed; the message names the field.",
            "Correct what the message names.",
        ),
        Reason::NotAuthenticated => (
            &[],
            "This needs an administrator token, and none was sent, or one that nobody made, or \
             that was revoked, or that has expired.",
            "Give a token of this cluster with --token-file, TRIAD_TOKEN_FILE or TRIAD_TOKEN: the \
             admin.token that `triad init` wrote, or one of `triad token create`.",
        ),
        Reason::RoleNeeded => (
            &[],
            "The administrator token that was sent may not do this: it has a lower role. Viewers \
             read; operators also take seats back, move leadership and drain nodes; admins change \
             everything.",
            "Use a token with the role that the message names, or ask an administrator for one: \
             `triad token create --role ROLE --label NAME`.",
        ),
        Reason::TokenUnknown => (
            &[],
            "No administrator token has this id. It was revoked, or never made.",
            "See the ids with `triad token list`.",
        ),
        Reason::LastAdmin => (
            &[],
            "It is the last administrator token with the role admin that does not expire. Without \
             it nobody could administer the cluster any more.",
            "Make its successor first, with `triad token create --role admin --label NAME`, then \
             revoke the old one with the new one.",
        ),
        Reason::ProtocolVersion => (
            &[-83],
            "Client and server do not speak the same version.",
            "Upgrade the nodes first, then the clients.",
        ),
        Reason::WrongCluster => (
            &[],
            "The other side belongs to another cluster: its certificates are from another \
             `triad init`.",
            "Copy every node's directory from the same `triad init`, and check the addresses.",
        ),
        Reason::LicenseMalformed => (
            &[-2],
            "The license cannot be read; the message names line and column.",
            "Copy the file whole, from its first marker to its last, or ask for it again.",
        ),
        Reason::LicenseTampered => (
            &[-8],
            "The license was altered after it was signed.",
            "Use the file as the publisher sent it. To change what it grants, ask the publisher.",
        ),
        Reason::LicenseForeign => (
            &[],
            "None of the publishers that this site trusts has signed the license.",
            "If it is from your publisher, add the publisher's public key to publisher_keys in \
             each triad.toml, and let each node read it again: `systemctl reload triad`.",
        ),
        Reason::LicenseExpired => (
            &[-10],
            "Every line of the license has expired.",
            "Ask the publisher to renew it. If the date is still to come, check the clocks.",
        ),
        Reason::LicenseWronglyBound => (
            &[-9],
            "The license is bound to another cluster or to other machines.",
            "Apply it there, or send the publisher the cluster id of `triad status`, or the host \
             ids of `triad hostid`.",
        ),
        Reason::LicenseSuperseded => (
            &[],
            "A newer serial of this license is in force.",
            "Nothing, if the newer one is wanted: see `triad license list`. To go back, ask the \
             publisher for the old terms under a higher serial.",
        ),
        Reason::Internal => (
            &[],
            "A defect, or a broken disk. A node that is not sure of its data stops.",
            "Look at the node's log; the others go on meanwhile. Report it with that log.",
        ),
    };
    Explanation { meaning, remedy, flexnet }
}
