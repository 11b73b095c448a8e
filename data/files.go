package data

// Files is a set of image files without labels (each has the label 0, of the
// only class "unknown"), decoded to the given number of channels, 1 or 3.
func Files(paths []string, channels int) Dataset {
	return &imageFiles{tree: folder(""), files: paths, labels: make([]int32, len(paths)), classes: []string{"unknown"}, channels: channels}
}
