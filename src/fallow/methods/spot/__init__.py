"""Systems that find the odd ones among images nobody has labelled."""
