// Package marketplace holds what cloud marketplaces tell us and what follows
// from it: events, subscriptions and cloud accounts.
//
// Marketplaces repeat callbacks, reorder them and lose our answers. So a
// subscription is not a state that each callback edits, but the set of facts
// that were stated about it; [Decide] adds a fact and derives the state from
// the whole set. A set does not care in which order or how often its members
// arrived, which is why any delivery order ends in the same state.
//
// Owns: the life cycle of what was bought. Does not own: verification and wire
// formats (adapters), workspaces that settle through a subscription
// (core/workspace), storage.
//
// Time has three meanings here. A fact's Rank is the provider's own order of
// its statements, where it has one. ExpiresAt is when a term ends, as the
// provider says. SeenAt is when we first received a fact; it only decides
// where the provider gives no order at all.
package marketplace
