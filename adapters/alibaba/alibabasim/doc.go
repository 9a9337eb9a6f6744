// Package alibabasim plays Alibaba Cloud Marketplace for one listing: the side
// that calls the seller, the API that the seller calls, and the consoles of
// buyer and seller as far as one needs them to try things out.
//
// Calling: every action of the China site, or those that are documented for
// the international one, signed, with parameters in any order, spaces as + or
// %20 and parameters that nobody announced. A production message is tried
// until the answer is good and at most 120 times more; the message orderPay
// is tried 12 times on the published schedule and then parked for the pull
// API. It keeps what the marketplace believes about each instance, so that a
// test can compare.
//
// Called: the RPC signature (HMAC-SHA1) with its time window and its nonces,
// DescribeFailedNotifications, ConfirmNotification and DescribeInstanceForIsv.
//
// The signing here is written from the documentation a second time, on
// purpose: an error in the adapter's does not cancel out.
//
// Not simulated: metering, licences, invoices, the real interval of production
// retries (not published; one minute here), the limits on API calls.
package alibabasim
