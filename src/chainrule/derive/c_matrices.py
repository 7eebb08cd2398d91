"""Linear algebra in C: elimination, Cholesky, Householder, Jacobi rotations, the exponential of a matrix.

Sources: G. H. Golub and C. F. Van Loan, Matrix Computations (4th ed., 2013); N. J. Higham, The scaling and squaring
method for the matrix exponential revisited (2005).
"""

from __future__ import annotations

__all__ = ["SOURCES"]

#: C functions by their names; ``real`` stands for the floating-point type. They work on matrices in C order.
SOURCES: dict[str, str] = {}

SOURCES["factor"] = """
static int factor_real(int n, real *a, int *sign, int *rows)  /* P A = L U in place; the number of zero pivots */
{
    int singular = 0;
    *sign = 1;
    for (int k = 0; k < n; k++) {
        int best = k;
        for (int i = k + 1; i < n; i++)
            if (fabs(a[n * i + k]) > fabs(a[n * best + k])) best = i;
        rows[k] = best;
        if (best != k) {
            *sign = -*sign;
            for (int j = 0; j < n; j++) {
                real held = a[n * k + j];
                a[n * k + j] = a[n * best + j];
                a[n * best + j] = held;
            }
        }
        if (a[n * k + k] == 0) {
            singular++;
            continue;
        }
        for (int i = k + 1; i < n; i++) {
            a[n * i + k] /= a[n * k + k];
            for (int j = k + 1; j < n; j++) a[n * i + j] -= a[n * i + k] * a[n * k + j];
        }
    }
    return singular;
}
"""

SOURCES["solve"] = """
static int solve_real(int n, int m, const real *a, const real *b, real *x, real *lu, int *rows)  /* A X = B */
{
    int sign;
    memcpy(lu, a, (size_t)n * n * sizeof *lu);
    if (factor_real(n, lu, &sign, rows)) return 1;
    memmove(x, b, (size_t)n * m * sizeof *x);
    for (int k = 0; k < n; k++)
        for (int j = 0; j < m && rows[k] != k; j++) {
            real held = x[m * k + j];
            x[m * k + j] = x[m * rows[k] + j];
            x[m * rows[k] + j] = held;
        }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            for (int j = 0; j < m; j++) x[m * i + j] -= lu[n * i + k] * x[m * k + j];
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            for (int j = 0; j < m; j++) x[m * i + j] -= lu[n * i + k] * x[m * k + j];
        for (int j = 0; j < m; j++) x[m * i + j] /= lu[n * i + i];
    }
    return 0;
}
"""

SOURCES["solve_triangle"] = """
static int solve_triangle_real(int n, int m, int lower, int unit, const real *a, const real *b, real *x)
{
    memmove(x, b, (size_t)n * m * sizeof *x);
    for (int step = 0; step < n; step++) {
        int i = lower ? step : n - 1 - step;
        if (!unit && a[n * i + i] == 0) return 1;
        for (int k = lower ? 0 : i + 1; k < (lower ? i : n); k++)
            for (int j = 0; j < m; j++) x[m * i + j] -= a[n * i + k] * x[m * k + j];
        for (int j = 0; j < m && !unit; j++) x[m * i + j] /= a[n * i + i];
    }
    return 0;
}
"""

SOURCES["invert"] = """
static int invert_real(int n, const real *a, real *x, real *one, real *lu, int *rows)
{
    for (int i = 0; i < n * n; i++) one[i] = i % (n + 1) == 0;
    return solve_real(n, n, a, one, x, lu, rows);
}
"""

SOURCES["determinant"] = """
static real determinant_real(int n, const real *a, real *lu, int *rows)
{
    int sign;
    real product;
    memcpy(lu, a, (size_t)n * n * sizeof *lu);
    factor_real(n, lu, &sign, rows);
    product = (real)sign;
    for (int k = 0; k < n; k++) product *= lu[n * k + k];
    return product;
}
"""

SOURCES["log_determinant"] = """
static void log_determinant_real(int n, const real *a, real *sign, real *logarithm, real *lu, int *rows)
{
    int turns;
    memcpy(lu, a, (size_t)n * n * sizeof *lu);
    factor_real(n, lu, &turns, rows);
    *sign = (real)turns;
    *logarithm = 0;
    for (int k = 0; k < n; k++) {
        real pivot = lu[n * k + k];
        *sign *= pivot > 0 ? 1 : pivot < 0 ? -1 : pivot == 0 ? 0 : pivot;
        *logarithm += log(fabs(pivot));
    }
}
"""

SOURCES["cholesky"] = """
static int cholesky_real(int n, int lower, const real *a, real *l)  /* L L^T = A from its lower triangle, or U^T U */
{
    memset(l, 0, (size_t)n * n * sizeof *l);
    for (int j = 0; j < n; j++)
        for (int i = j; i < n; i++) {
            real sum = lower ? a[n * i + j] : a[n * j + i];
            for (int k = 0; k < j; k++)
                sum -= lower ? l[n * i + k] * l[n * j + k] : l[n * k + i] * l[n * k + j];
            if (i == j) {
                if (!(sum > 0)) return 1;
                l[n * j + j] = sqrt(sum);
            } else if (lower)
                l[n * i + j] = sum / l[n * j + j];
            else
                l[n * j + i] = sum / l[n * j + j];
        }
    return 0;
}
"""

SOURCES["symmetric_eigen"] = """
static void symmetric_eigen_real(int n, int lower, const real *a, real *w, real *v, real *s)
{
    /* Jacobi rotations; values ascend, vectors are the columns of v. */
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            s[n * i + j] = (i >= j) == (lower != 0) || i == j ? a[n * i + j] : a[n * j + i];
            v[n * i + j] = i == j;
        }
    for (int sweep = 0; sweep < 60; sweep++) {
        int rotated = 0;
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) {
                real off = s[n * p + q], tau, t, c, d;
                if (fabs(off) <= EPSILON * 1e-3 * sqrt(fabs(s[n * p + p] * s[n * q + q])) || off == 0) continue;
                rotated = 1;
                tau = (s[n * q + q] - s[n * p + p]) / (2 * off);
                t = (tau >= 0 ? 1 : -1) / (fabs(tau) + hypot(1, tau));
                c = 1 / hypot(1, t);
                d = t * c;
                for (int k = 0; k < n; k++) {
                    real x = s[n * k + p], y = s[n * k + q];
                    s[n * k + p] = c * x - d * y;
                    s[n * k + q] = d * x + c * y;
                }
                for (int k = 0; k < n; k++) {
                    real x = s[n * p + k], y = s[n * q + k];
                    s[n * p + k] = c * x - d * y;
                    s[n * q + k] = d * x + c * y;
                }
                s[n * p + q] = s[n * q + p] = 0;
                for (int k = 0; k < n; k++) {
                    real x = v[n * k + p], y = v[n * k + q];
                    v[n * k + p] = c * x - d * y;
                    v[n * k + q] = d * x + c * y;
                }
            }
        if (!rotated) break;
    }
    for (int i = 0; i < n; i++) w[i] = s[n * i + i];
    for (int i = 0; i < n; i++) {
        int least = i;
        real held = w[i];
        for (int j = i + 1; j < n; j++)
            if (w[j] < w[least]) least = j;
        w[i] = w[least];
        w[least] = held;
        for (int k = 0; k < n && least != i; k++) {
            held = v[n * k + i];
            v[n * k + i] = v[n * k + least];
            v[n * k + least] = held;
        }
    }
}
"""

SOURCES["singular"] = """
static void singular_real(int m, int n, const real *a, real *u, real *s, real *vt, real *x, real *y)
{
    /* One-sided Jacobi rotations of the columns of X = A, or A^T if A is wide: X Y = U S. */
    int rows = m < n ? n : m, k = m < n ? m : n;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < k; j++) x[k * i + j] = m < n ? a[n * j + i] : a[n * i + j];
    for (int i = 0; i < k * k; i++) y[i] = i % (k + 1) == 0;
    for (int sweep = 0; sweep < 60; sweep++) {
        int rotated = 0;
        for (int p = 0; p < k; p++)
            for (int q = p + 1; q < k; q++) {
                real aa = 0, bb = 0, ab = 0, tau, t, c, d;
                for (int i = 0; i < rows; i++) {
                    aa += x[k * i + p] * x[k * i + p];
                    bb += x[k * i + q] * x[k * i + q];
                    ab += x[k * i + p] * x[k * i + q];
                }
                if (fabs(ab) <= EPSILON * sqrt(aa * bb) || ab == 0) continue;
                rotated = 1;
                tau = (bb - aa) / (2 * ab);
                t = (tau >= 0 ? 1 : -1) / (fabs(tau) + hypot(1, tau));
                c = 1 / hypot(1, t);
                d = t * c;
                for (int i = 0; i < rows; i++) {
                    real f = x[k * i + p], g = x[k * i + q];
                    x[k * i + p] = c * f - d * g;
                    x[k * i + q] = d * f + c * g;
                }
                for (int i = 0; i < k; i++) {
                    real f = y[k * i + p], g = y[k * i + q];
                    y[k * i + p] = c * f - d * g;
                    y[k * i + q] = d * f + c * g;
                }
            }
        if (!rotated) break;
    }
    for (int j = 0; j < k; j++) {
        real sum = 0;
        for (int i = 0; i < rows; i++) sum += x[k * i + j] * x[k * i + j];
        s[j] = sqrt(sum);
    }
    for (int p = 0; p < k; p++) {
        int best = p;
        real held = s[p];
        for (int q = p + 1; q < k; q++)
            if (s[q] > s[best]) best = q;
        s[p] = s[best];
        s[best] = held;
        for (int i = 0; i < rows && best != p; i++) {
            held = x[k * i + p];
            x[k * i + p] = x[k * i + best];
            x[k * i + best] = held;
        }
        for (int i = 0; i < k && best != p; i++) {
            held = y[k * i + p];
            y[k * i + p] = y[k * i + best];
            y[k * i + best] = held;
        }
    }
    for (int p = 0; p < k; p++) {
        int axis = 0;
        real length = s[p];
        /* A vector of the value 0 is any that is orthogonal to the others. */
        while (length == 0) {
            for (int i = 0; i < rows; i++) x[k * i + p] = i == axis;
            axis++;
            for (int pass = 0; pass < 2; pass++)
                for (int q = 0; q < p; q++) {
                    real dot = 0;
                    for (int i = 0; i < rows; i++) dot += x[k * i + p] * x[k * i + q];
                    for (int i = 0; i < rows; i++) x[k * i + p] -= dot * x[k * i + q];
                }
            for (int i = 0; i < rows; i++) length += x[k * i + p] * x[k * i + p];
            length = length < 1e-3 ? 0 : sqrt(length);
        }
        for (int i = 0; i < rows; i++) x[k * i + p] /= length;
    }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++) u[k * i + j] = m < n ? y[k * i + j] : x[k * i + j];
    for (int i = 0; i < k; i++)
        for (int j = 0; j < n; j++) vt[n * i + j] = m < n ? x[k * j + i] : y[k * j + i];
}
"""

SOURCES["householder"] = """
static void householder_real(int m, int n, const real *a, real *q, real *r, real *h, real *t)
{
    /* A = Q R with m >= n, by reflections; the diagonal of R has the signs that LAPACK gives it. */
    memcpy(h, a, (size_t)m * n * sizeof *h);
    for (int k = 0; k < n; k++) {
        real norm = 0, alpha = h[n * k + k], beta;
        for (int i = k + 1; i < m; i++) norm = hypot(norm, h[n * i + k]);
        t[k] = 0;
        if (norm == 0) continue;
        beta = -copysign(hypot(alpha, norm), alpha);
        t[k] = (beta - alpha) / beta;
        for (int i = k + 1; i < m; i++) h[n * i + k] /= alpha - beta;
        h[n * k + k] = beta;
        for (int j = k + 1; j < n; j++) {
            real dot = h[n * k + j];
            for (int i = k + 1; i < m; i++) dot += h[n * i + k] * h[n * i + j];
            h[n * k + j] -= t[k] * dot;
            for (int i = k + 1; i < m; i++) h[n * i + j] -= t[k] * dot * h[n * i + k];
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) r[n * i + j] = j < i ? 0 : h[n * i + j];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) q[n * i + j] = i == j;
    for (int k = n - 1; k >= 0; k--)
        for (int j = 0; j < n; j++) {
            real dot = q[n * k + j];
            for (int i = k + 1; i < m; i++) dot += h[n * i + k] * q[n * i + j];
            q[n * k + j] -= t[k] * dot;
            for (int i = k + 1; i < m; i++) q[n * i + j] -= t[k] * dot * h[n * i + k];
        }
}
"""

SOURCES["pseudo_inverse"] = """
static void pseudo_inverse_real(int m, int n, double least, const real *a, real *p, real *u, real *s, real *vt,
    real *x, real *y)
{
    int k = m < n ? m : n;
    singular_real(m, n, a, u, s, vt, x, y);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            real sum = 0;
            for (int l = 0; l < k; l++)
                if (s[l] > least * s[0]) sum += vt[n * l + i] / s[l] * u[k * j + l];
            p[m * i + j] = sum;
        }
}
"""

SOURCES["cofactors"] = """
static void cofactors_real(int n, const real *a, real *c, real *u, real *s, real *vt, real *x, real *y, int *rows)
{
    /* From A = U S V^T, so that singular matrices have theirs: det U det V times U (products of the other s) V^T. */
    real sign;
    singular_real(n, n, a, u, s, vt, x, y);
    sign = determinant_real(n, u, x, rows) * determinant_real(n, vt, x, rows) > 0 ? 1 : -1;
    for (int i = 0; i < n * n; i++) c[i] = 0;
    for (int k = 0; k < n; k++) {
        real product = sign;
        for (int j = 0; j < n; j++) product *= j == k ? 1 : s[j];
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) c[n * i + j] += product * u[n * i + k] * vt[n * k + j];
    }
}
"""

SOURCES["cofactor_change"] = """
static void cofactor_change_real(int n, const real *a, const real *e, real *c, real *u, real *s, real *vt,
    real *x, real *y, int *rows)
{
    /* The derivative of the cofactors along E; x is U^T E V, y the change between U and V^T. */
    real sign;
    singular_real(n, n, a, u, s, vt, x, y);
    sign = determinant_real(n, u, x, rows) * determinant_real(n, vt, x, rows) > 0 ? 1 : -1;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            x[n * i + j] = y[n * i + j] = 0;
            for (int k = 0; k < n; k++)
                for (int l = 0; l < n; l++) x[n * i + j] += u[n * k + i] * e[n * k + l] * vt[n * j + l];
        }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            real product = 1;
            if (i == j) continue;
            for (int k = 0; k < n; k++) product *= k == i || k == j ? 1 : s[k];
            y[n * i + i] += product * x[n * j + j];
            y[n * i + j] = -product * x[n * j + i];
        }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            real sum = 0;
            for (int k = 0; k < n; k++)
                for (int l = 0; l < n; l++) sum += u[n * i + k] * y[n * k + l] * vt[n * l + j];
            c[n * i + j] = sign * sum;
        }
}
"""

SOURCES["product"] = """
static void product_real(int n, const real *a, const real *b, real *c)
{
    for (int i = 0; i < n * n; i++) c[i] = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            for (int j = 0; j < n; j++) c[n * i + j] += a[n * i + k] * b[n * k + j];
}
"""

SOURCES["exponential"] = """
static int exponential_real(int n, const real *a, real *e, real *x, real *p2, real *p4, real *p6, real *u,
    real *v, real *lu, int *rows)
{
    /* Scaling and squaring with the Pade approximant of degree 13. */
    static const double b[14] = {64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
        129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0,
        16380.0, 182.0, 1.0};
    double norm = 0;
    int squarings = 0;
    for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += fabs(a[n * i + j]);
        norm = sum > norm || isnan(sum) ? sum : norm;
    }
    if (norm > 5.371920351148152 && isfinite(norm)) squarings = (int)ceil(log2(norm / 5.371920351148152));
    for (int i = 0; i < n * n; i++) x[i] = (real)ldexp(a[i], -squarings);
    product_real(n, x, x, p2);
    product_real(n, p2, p2, p4);
    product_real(n, p2, p4, p6);
    for (int i = 0; i < n * n; i++) v[i] = b[13] * p6[i] + b[11] * p4[i] + b[9] * p2[i];
    product_real(n, p6, v, e);
    for (int i = 0; i < n * n; i++) e[i] += b[7] * p6[i] + b[5] * p4[i] + b[3] * p2[i] + (i % (n + 1) ? 0 : b[1]);
    product_real(n, x, e, u);
    for (int i = 0; i < n * n; i++) e[i] = b[12] * p6[i] + b[10] * p4[i] + b[8] * p2[i];
    product_real(n, p6, e, v);
    for (int i = 0; i < n * n; i++) v[i] += b[6] * p6[i] + b[4] * p4[i] + b[2] * p2[i] + (i % (n + 1) ? 0 : b[0]);
    for (int i = 0; i < n * n; i++) {
        p2[i] = v[i] - u[i];
        p4[i] = v[i] + u[i];
    }
    if (solve_real(n, n, p2, p4, e, lu, rows)) return 1;
    for (int k = 0; k < squarings; k++) {
        product_real(n, e, e, x);
        memcpy(e, x, (size_t)n * n * sizeof *e);
    }
    return 0;
}
"""
