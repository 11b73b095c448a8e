package engine

// Watcher is an Executable that notices results which are not finite.
type Watcher interface {
	// NotFinite names the first node of the last run that gave a NaN or an
	// infinity, with its kind, as far as the engine has looked: it need not look
	// at large results, since what they hold soon shows in small ones. It is empty
	// if there was none.
	NotFinite() string
}
