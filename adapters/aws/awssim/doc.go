// Package awssim plays AWS Marketplace for one listing: buyers with concurrent
// agreements, registration tokens, EventBridge events with their API key, signed
// SNS messages, and the services that the seller calls: ResolveCustomer (AWS
// JSON 1.1), GetEntitlements (Smithy RPC v2 CBOR and AWS JSON 1.1) and the part
// of SQS that a reader of a queue needs. It verifies the seller's signatures.
//
// Events go to the queue if the listing's configuration names one, else they
// are pushed, with the retries of EventBridge and of SNS.
//
// BatchMeterUsage keeps a ledger of what would be billed, by all documented
// rules and the simulator's clock; POST /_sim/metering/faults switches what goes
// wrong, GET /_sim/metering tells the truth.
//
// It does not simulate: the age check of signatures (the program's clock may be
// moved), IAM, quotas but of BatchMeterUsage and on demand, the charset of every
// field, private offers through resellers, and that SNS and EventBridge drop a
// message at once when it is answered with a 4xx other than 429: here those are
// retried too, so that a mistake in a configuration can be mended while watching.
package awssim
