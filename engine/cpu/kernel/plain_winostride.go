package kernel

// The points ±sa and ±sb of the transforms of stride 2, and one over the products
// of their distances from the others. Of the negative points both numbers have
// the opposite sign, which cancels in the product.
const (
	sa  = 1. / 2
	sb  = 5. / 4
	nsa = 1 / (2 * sa * (sa*sa - sb*sb))
	nsb = 1 / (2 * sb * (sb*sb - sa*sa))
)

// Products with the matrices, one vector at a time. Where a phase has no
// infinity, the last number is 0 and the last of the result is left out.

func strideBT(d [5]float32) [5]float32 {
	evenA, oddA := d[2]-sb*sb*d[0], d[3]-sb*sb*d[1]
	evenB, oddB := d[2]-sa*sa*d[0], d[3]-sa*sa*d[1]
	return [5]float32{
		sa*evenA + oddA, sa*evenA - oddA, sb*evenB + oddB, sb*evenB - oddB,
		sa*sa*sb*sb*d[0] - (sa*sa+sb*sb)*d[2] + d[4],
	}
}

func strideAT(m [5]float32) [4]float32 {
	ea, da, eb, db := m[0]+m[1], m[0]-m[1], m[2]+m[3], m[2]-m[3]
	return [4]float32{ea + eb, sa*da + sb*db, sa*sa*ea + sb*sb*eb, sa*sa*sa*da + sb*sb*sb*db + m[4]}
}

func strideG(w [2]float32) [5]float32 {
	return [5]float32{
		nsa*w[0] + nsa*sa*w[1], nsa*w[0] - nsa*sa*w[1], nsb*w[0] + nsb*sb*w[1], nsb*w[0] - nsb*sb*w[1], w[1],
	}
}

func strideA(y [4]float32) [5]float32 {
	evenA, oddA := y[0]+sa*sa*y[2], y[1]+sa*sa*y[3]
	evenB, oddB := y[0]+sb*sb*y[2], y[1]+sb*sb*y[3]
	return [5]float32{evenA + sa*oddA, evenA - sa*oddA, evenB + sb*oddB, evenB - sb*oddB, y[3]}
}

func strideGT(m [5]float32) [2]float32 {
	return [2]float32{
		nsa*(m[0]+m[1]) + nsb*(m[2]+m[3]), nsa*sa*(m[0]-m[1]) + nsb*sb*(m[2]-m[3]) + m[4],
	}
}

// points is how many of the five points a phase's columns and rows have.
func (p Phase) points() (down, across int) { return p.last()/5 + 1, p.last()%5 + 1 }

// taps is how many taps reach a phase, down and across.
func (p Phase) taps() (down, across int) {
	down, across = p.points()
	return down - 3, across - 3
}

func strideInPlain(p Phase) strideIn {
	down, across := p.points()
	return func(v *float32, step int, x *[25]*float32, c int) {
		for k := range c {
			var t [5][5]float32 // the result's columns
			for j := range across {
				var d [5]float32
				for i := range down {
					d[i] = *at(x[5*i+j], k)
				}
				t[j] = strideBT(d)
			}
			for i := range down {
				for j, f := range strideBT([5]float32{t[0][i], t[1][i], t[2][i], t[3][i], t[4][i]}) {
					if j < across {
						*at(v, (5*i+j)*step+k) = f
					}
				}
			}
		}
	}
}

func strideOutPlain(p Phase) strideOut {
	down, across := p.points()
	return func(y *[16]*float32, m *float32, step int, c int, add *[16]*float32, _ bool) {
		for k := range c {
			var t [5][4]float32
			for j := range across {
				t[j] = strideAT(column5(m, step, j, k, down))
			}
			for i := range 4 {
				for j, f := range strideAT([5]float32{t[0][i], t[1][i], t[2][i], t[3][i], t[4][i]}) {
					if add != nil {
						f += *at(add[4*i+j], k)
					}
					*at(y[4*i+j], k) = f
				}
			}
		}
	}
}

// column5 is the first n of column j of the 5×5 numbers of channel k.
func column5(m *float32, step, j, k, n int) (d [5]float32) {
	for i := range n {
		d[i] = *at(m, (5*i+j)*step+k)
	}
	return d
}

func strideKernelPlain(p Phase) strideKernel {
	points, columns := p.points()
	down, across := p.taps()
	return func(u *float32, step int, w *float32, wStep int, c int) {
		for k := range c {
			var t [2][5]float32
			for j := range across {
				var g [2]float32
				for i := range down {
					g[i] = *at(w, (6*i+2*j)*wStep+k)
				}
				t[j] = strideG(g)
			}
			for i := range points {
				for j, f := range strideG([2]float32{t[0][i], t[1][i]}) {
					if j < columns {
						*at(u, (5*i+j)*step+k) = f
					}
				}
			}
		}
	}
}

func strideGradPlain(v *float32, vStep int, dy *[16]*float32, c int) {
	for k := range c {
		var t [4][5]float32
		for j := range 4 {
			t[j] = strideA([4]float32{*at(dy[j], k), *at(dy[4+j], k), *at(dy[8+j], k), *at(dy[12+j], k)})
		}
		for i := range 5 {
			for j, f := range strideA([4]float32{t[0][i], t[1][i], t[2][i], t[3][i]}) {
				*at(v, (5*i+j)*vStep+k) = f
			}
		}
	}
}

func strideKernelGradPlain(p Phase) strideKernelGrad {
	points, columns := p.points()
	down, across := p.taps()
	return func(dw *float32, dwStep int, m *float32, step int, c int) {
		for k := range c {
			var t [5][2]float32
			for j := range columns {
				t[j] = strideGT(column5(m, step, j, k, points))
			}
			for i := range down {
				for j, f := range strideGT([5]float32{t[0][i], t[1][i], t[2][i], t[3][i], t[4][i]}) {
					if j < across {
						*at(dw, (6*i+2*j)*dwStep+k) = f
					}
				}
			}
		}
	}
}

// plainStride are the transforms in plain Go.
var plainStride = func() (w winostride) {
	for p := range Phases {
		w.in[p], w.out[p] = strideInPlain(p), strideOutPlain(p)
		w.kernel[p], w.kernelGrad[p] = strideKernelPlain(p), strideKernelGradPlain(p)
	}
	w.grad = strideGradPlain
	return w
}()
