//! The publisher's back office: registration of servers, entitlements and
//! capability responses. Not built yet.
