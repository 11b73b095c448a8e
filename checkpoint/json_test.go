package checkpoint

import "testing"

func TestIndent(t *testing.T) {
	got, err := Indent(map[string]any{"a": [][]float64{{1, -2.5e30}, {}}, "b": []string{"[", "1", "]"}, "c": "[\n1\n]"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "a": [
    [1,-2.5e+30],
    []
  ],
  "b": [
    "[",
    "1",
    "]"
  ],
  "c": "[\n1\n]"
}
`
	if string(got) != want {
		t.Errorf("%s", got)
	}
}
