"""The studio: a local web page on a collection, its runs and the papers behind them."""
