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
// DescribeFailedNotifications, ConfirmNotification, DescribeInstanceForIsv and
// PushMeteringData, of 2015-11-01 and on the international site of 2022-12-30.
//
// Metering keeps the rules of its page: widths, keys, billing items, products,
// numbers of records, one request of an instance a minute, and the windows by
// the simulator's clock. As there, a repeat is not noticed but billed again,
// usage that comes late for an hourly product or was after the instance's end
// is taken and not billed, and errors of the caller have status 500. A call is
// taken or refused as a whole (not documented) unless a fault says otherwise;
// a refused one does not count for the one request a minute. Metered and
// GET /_sim/metering tell what would be billed.
//
// The signing here is written from the documentation a second time, on
// purpose: an error in the adapter's does not cancel out.
//
// Not simulated: licences, amounts of bills, invoices, the real interval of
// production retries (not published; one minute here), the limits on API calls.
package alibabasim
