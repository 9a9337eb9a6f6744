// Package pricing holds versioned price books: what one unit of an item costs
// at a site, and by which rules a day's samples become the quantity that is
// charged.
//
// Owns: books, their validation, which book holds on a day, and how books are
// written in files. Does not own: the calculation itself (core/rating), and
// who pays. A book is data through and through: no item, zone or retention is
// known to the program.
//
// # From samples to a quantity
//
// Workspaces report hourly samples of measures. An item has one measure or
// several. A day's quantity of an item and variant is made in three steps:
//
//  1. The samples of each measure become one number by the item's aggregation.
//  2. Each number is multiplied by the measure's weight.
//  3. Measures of the same group add up; the largest group is the quantity.
//
// So "trace ids, or a tenth of the spans where that is more" is two measures
// of weights 1 and 0.1 in two groups. An item without measures has one, of
// weight 1, that is called like the item.
//
// # From a quantity to an amount
//
// The item's daily free quota comes off first. What is left is priced per
// unit: flat (one price), graduated (each tier's part at the tier's price) or
// volume (all at the price of the tier that the quantity reaches). The amount
// is rounded once, half-even, to the scale of the book.
//
// # Files
//
// A book is a YAML document; a file may hold several, separated by "---". Its
// keys are those of the API. Numbers may be quoted or not, they are never read
// as floats; an unknown key is an error:
//
//	name: public
//	zone: CN
//	currency: CNY
//	effective_from: 2026-01-01     # a day at the site
//	scale: 6                       # optional, decimals of an amount
//	items:
//	  - item: trace
//	    name: APM trace            # optional, for people
//	    unit: 1000000              # how much one price is for
//	    aggregation: sum           # sum, max or last
//	    mode: flat                 # optional; flat, graduated or volume
//	    free_quota: 0              # optional, a day and workspace
//	    exclude_vouchers: false    # optional
//	    measures:                  # optional
//	      - {measure: trace, group: ids}
//	      - {measure: trace_spans, weight: 0.1, group: spans}
//	    prices:
//	      - {variant: 14d, price: 6}
//	  - item: storage
//	    unit: 1000000000
//	    aggregation: max
//	    mode: graduated
//	    prices:
//	      - tiers:                 # of items that are not flat
//	          - {up_to: 5000000000, price: 0.007}
//	          - {price: 0.005}     # the last has no end
//
// The same as CSV has a row for each price or tier, with a header of the same
// names in any order. Columns that are optional above may be missing, and so
// may "variant" and "up_to"; the name of an item is "item_name". A row begins a
// new book or item if it names another. The columns of the same book or item
// are repeated or left empty; a new book is like the one before but for what
// it says, a new item says all. An item with measures needs YAML.
//
//	name,zone,currency,effective_from,item,unit,aggregation,variant,price
//	public,CN,CNY,2026-01-01,logs,1000000,sum,7d,1.2
//	,,,,,,,14d,1.5
package pricing
