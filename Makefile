# Replaced by the real targets in the commits that follow.
test:
	test -f LICENSE
