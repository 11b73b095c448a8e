package kernel

// The points ±pa and ±pb of the Winograd transforms, and one over the products
// of their distances from the others.
const (
	pa = 5. / 8
	pb = 3. / 2
	n0 = 1 / (pa * pa * pb * pb)
	na = 1 / (2 * pa * pa * (pa*pa - pb*pb))
	nb = 1 / (2 * pb * pb * (pb*pb - pa*pa))
)

// Products with the matrices, one vector at a time.

func lineBT(d [6]float32) [6]float32 {
	evenA, oddA := d[4]-pb*pb*d[2], pa*(d[3]-pb*pb*d[1])
	evenB, oddB := d[4]-pa*pa*d[2], pb*(d[3]-pa*pa*d[1])
	return [6]float32{
		pa*pa*pb*pb*d[0] - (pa*pa+pb*pb)*d[2] + d[4],
		evenA + oddA, evenA - oddA, evenB + oddB, evenB - oddB,
		pa*pa*pb*pb*d[1] - (pa*pa+pb*pb)*d[3] + d[5],
	}
}

func lineAT(m [6]float32) [4]float32 {
	sa, da, sb, db := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return [4]float32{m[0] + sa + sb, pa*da + pb*db, pa*pa*sa + pb*pb*sb, pa*pa*pa*da + pb*pb*pb*db + m[5]}
}

func lineG(w [3]float32) [6]float32 {
	evenA, oddA := na*w[0]+na*pa*pa*w[2], na*pa*w[1]
	evenB, oddB := nb*w[0]+nb*pb*pb*w[2], nb*pb*w[1]
	return [6]float32{n0 * w[0], evenA + oddA, evenA - oddA, evenB + oddB, evenB - oddB, w[2]}
}

func lineA(y [4]float32) [6]float32 {
	evenA, oddA := y[0]+pa*pa*y[2], pa*(y[1]+pa*pa*y[3])
	evenB, oddB := y[0]+pb*pb*y[2], pb*(y[1]+pb*pb*y[3])
	return [6]float32{y[0], evenA + oddA, evenA - oddA, evenB + oddB, evenB - oddB, y[3]}
}

func lineGT(m [6]float32) [3]float32 {
	sa, da, sb, db := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return [3]float32{n0*m[0] + na*sa + nb*sb, na*pa*da + nb*pb*db, na*pa*pa*sa + nb*pb*pb*sb + m[5]}
}

func winoInPlain(v *float32, step int, x *[36]*float32, c int) {
	for k := range c {
		var t [6][6]float32 // the result's columns
		for j := range 6 {
			t[j] = lineBT([6]float32{*at(x[j], k), *at(x[6+j], k), *at(x[12+j], k), *at(x[18+j], k), *at(x[24+j], k), *at(x[30+j], k)})
		}
		for i := range 6 {
			for j, f := range lineBT([6]float32{t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i]}) {
				*at(v, (6*i+j)*step+k) = f
			}
		}
	}
}

func winoOutPlain(y *[16]*float32, m *float32, step int, c int, add *[16]*float32, _ bool) {
	for k := range c {
		var t [6][4]float32
		for j := range 6 {
			t[j] = lineAT(column6(m, step, j, k))
		}
		for i := range 4 {
			for j, f := range lineAT([6]float32{t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i]}) {
				if add != nil {
					f += *at(add[4*i+j], k)
				}
				*at(y[4*i+j], k) = f
			}
		}
	}
}

// column6 is column j of the 6×6 numbers of channel k.
func column6(m *float32, step, j, k int) (d [6]float32) {
	for i := range d {
		d[i] = *at(m, (6*i+j)*step+k)
	}
	return d
}

func winoKernelPlain(u *float32, uStep int, w *float32, wStep int, c int) {
	for k := range c {
		var t [3][6]float32
		for j := range 3 {
			t[j] = lineG([3]float32{*at(w, j*wStep+k), *at(w, (3+j)*wStep+k), *at(w, (6+j)*wStep+k)})
		}
		for i := range 6 {
			for j, f := range lineG([3]float32{t[0][i], t[1][i], t[2][i]}) {
				*at(u, (6*i+j)*uStep+k) = f
			}
		}
	}
}

func winoGradPlain(v *float32, vStep int, dy *[16]*float32, c int) {
	for k := range c {
		var t [4][6]float32
		for j := range 4 {
			t[j] = lineA([4]float32{*at(dy[j], k), *at(dy[4+j], k), *at(dy[8+j], k), *at(dy[12+j], k)})
		}
		for i := range 6 {
			for j, f := range lineA([4]float32{t[0][i], t[1][i], t[2][i], t[3][i]}) {
				*at(v, (6*i+j)*vStep+k) = f
			}
		}
	}
}

func winoKernelGradPlain(dw *float32, dwStep int, m *float32, mStep int, c int) {
	for k := range c {
		var t [6][3]float32
		for j := range 6 {
			t[j] = lineGT(column6(m, mStep, j, k))
		}
		for i := range 3 {
			for j, f := range lineGT([6]float32{t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i]}) {
				*at(dw, (3*i+j)*dwStep+k) = f
			}
		}
	}
}

// The lines of F(2×2, 3×3).

func line2BT(d [4]float32) [4]float32 {
	return [4]float32{d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]}
}

func line2AT(m [4]float32) [2]float32 {
	return [2]float32{m[0] + m[1] + m[2], m[1] - m[2] + m[3]}
}

func line2G(w [3]float32) [4]float32 {
	even, odd := 0.5*(w[0]+w[2]), 0.5*w[1]
	return [4]float32{w[0], even + odd, even - odd, w[2]}
}

func wino2InPlain(v *float32, step int, x *[16]*float32, c int) {
	for k := range c {
		var t [4][4]float32 // the result's columns
		for j := range 4 {
			t[j] = line2BT([4]float32{*at(x[j], k), *at(x[4+j], k), *at(x[8+j], k), *at(x[12+j], k)})
		}
		for i := range 4 {
			for j, f := range line2BT([4]float32{t[0][i], t[1][i], t[2][i], t[3][i]}) {
				*at(v, (4*i+j)*step+k) = f
			}
		}
	}
}

func wino2OutPlain(y *[4]*float32, m *float32, step int, c int) {
	for k := range c {
		var t [4][2]float32
		for j := range 4 {
			t[j] = line2AT([4]float32{*at(m, j*step+k), *at(m, (4+j)*step+k), *at(m, (8+j)*step+k), *at(m, (12+j)*step+k)})
		}
		for i := range 2 {
			for j, f := range line2AT([4]float32{t[0][i], t[1][i], t[2][i], t[3][i]}) {
				*at(y[2*i+j], k) = f
			}
		}
	}
}

func wino2KernelPlain(u *float32, uStep int, w *float32, wStep int, c int) {
	for k := range c {
		var t [3][4]float32
		for j := range 3 {
			t[j] = line2G([3]float32{*at(w, j*wStep+k), *at(w, (3+j)*wStep+k), *at(w, (6+j)*wStep+k)})
		}
		for i := range 4 {
			for j, f := range line2G([3]float32{t[0][i], t[1][i], t[2][i]}) {
				*at(u, (4*i+j)*uStep+k) = f
			}
		}
	}
}
