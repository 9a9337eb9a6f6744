// Package aws speaks the callbacks of AWS Marketplace for SaaS products.
//
// A buyer's life, as AWS tells it:
//
//   - The buyer's browser POSTs x-amzn-marketplace-token to …/register.
//     ResolveCustomer turns it into an AWS account and, since 2026-02, a license
//     (Seller Guide "saas-product-customer-setup"). The token holds 4 hours and
//     may be resolved again until then; another page of the guide says one hour.
//   - EventBridge events (source aws.agreement-marketplace, us-east-1) reach
//     …/events through an API destination, which can authenticate only by a
//     header, or an SQS queue (Seller Guide "saas-eventbridge-integration",
//     "notifications-eventbridge", read 2026-07).
//   - Listings made before 2026-06 may still be told through SNS, signed, without
//     a license in the message (Seller Guide "saas-notification").
//
// What was bought is the license, "l-…": since Concurrent Agreements became
// mandatory for new listings (2026-06-01) one account may hold several. The
// guide prints its ARN in two spellings, so only the id is compared.
//
//	AWS says                                       we say
//	registration form                              registered
//	License Updated                                activated; nothing else activates
//	License Deprovisioned                          ended
//	Purchase Agreement Ended: CANCELLED, EXPIRED,
//	  TERMINATED                                   ending
//	Purchase Agreement Ended: RENEWED, REPLACED    succeeded, not an end
//	Purchase Agreement Created, Amended            linked
//	SNS subscribe-success                          activated
//	SNS unsubscribe-pending                        ending
//	SNS unsubscribe-success, subscribe-fail        ended
//	SNS entitlement-updated                        what GetEntitlements says
//	anything else                                  noted
//
// Agreement events name no license and no product; they are matched through
// the name "agreement:…" that License Updated gives the license, and wait until
// it arrives. They never carry an account: an agreement of another product of
// the same seller then waits for ever and is shown to nobody.
//
// Listings from before that date which are told through SNS alone set identity
// to "customer": their buyers keep one identity over all their licenses.
//
// Usage goes out through BatchMeterUsage (API Reference, 2026-07): one record
// an hour of UTC for a license and a dimension, the first that comes, for good.
// A record is sent as it was sealed, with the start of its hour as timestamp,
// so that a repeat is recognized; what a repeat is answered is not settled
// (Success by the reference, DuplicateRecord by a page for agents), and both
// are understood. Usage is refused when it is 24 hours old, when its month is
// over for six hours, and an hour after its agreement ended; whether Purchase
// Agreement Ended or License Deprovisioned opens that hour differs from page to
// page, so whichever comes first is to be taken for it. Not documented, and
// avoided: usage of the future, and of the hour before an agreement began.
//
// Delivery is at least once and unordered everywhere, so facts are ranked by
// the time that AWS stamped on them. EventBridge stamps whole seconds.
package aws
