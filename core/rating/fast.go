package rating

// rateFast rates the lines of an item with 64-bit numbers and reports whether
// they all fit. If not, the results but for seen are to be made again.
func (it *item) rateFast(results []rated) bool {
	left := it.quota
	for _, i := range it.order {
		res := &results[i]
		if !res.seen {
			continue
		}
		rest, ok := res.draw(left)
		if !res.fits || !ok || !res.price(&it.lines[i].tariff) {
			return false
		}
		left = rest
	}
	return true
}

// draw takes what is free of the quantity from what is left of a quota and
// returns the rest, and whether it fits.
func (res *rated) draw(left fixed) (fixed, bool) {
	res.free = res.quantity
	if left.cmp(res.free) < 0 {
		res.free = left
	}
	rest, ok := left.sub(res.free)
	return rest, ok && res.free.fits()
}

// price makes the amount of what is not free and reports whether it fits.
func (res *rated) price(t *tariff) bool {
	billed, ok := res.quantity.sub(res.free)
	if !ok {
		return false
	}
	res.amount, res.tier, ok = t.amount(billed)
	return ok
}
