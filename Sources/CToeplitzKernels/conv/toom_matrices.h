// The matrices A and B of toom.inc.h; G is toom.c's.
#ifndef TZ_TOOM_MATRICES_H
#define TZ_TOOM_MATRICES_H

static const float tz_toom_b2[5][5] = {
  {0.5f, -1, -0.5f, 1, 0}, {0, -0.5f, 0.5f, 1, 0}, {0, 0.5f, -1.5f, 1, 0}, {0, -1, 0, 1, 0}, {0, 0.5f, -1, -0.5f, 1},
};
static const float tz_toom_a2[4][5] = {
  {1, 1, 1, 1, 0}, {0, 1, -1, 0.5f, 0}, {0, 1, 1, 0.25f, 0}, {0, 1, -1, 0.125f, 1},
};
static const float tz_toom_b3[6][6] = {
  {0.5f, -0.75f, -1, 0.75f, 0.5f, 0}, {0, -0.5f, 0.25f, 1.25f, 0.5f, 0}, {0, 0.5f, -1.25f, 0.25f, 0.5f, 0},
  {0, -1, -0.5f, 1, 0.5f, 0},         {0, 0.5f, -1, -0.5f, 1, 0},        {0, 0.5f, -0.75f, -1, 0.75f, 0.5f},
};
static const float tz_toom_a3[4][6] = {
  {1, 1, 1, 1, 1, 0}, {0, 1, -1, 0.5f, -2, 0}, {0, 1, 1, 0.25f, 4, 0}, {0, 1, -1, 0.125f, -8, 1},
};
static const float tz_toom_b4[7][7] = {
  {0.5f, 1, -0.625f, -1.25f, 0.125f, 0.25f, 0}, {0, -0.5f, -1.5f, -0.875f, 0.375f, 0.25f, 0},
  {0, 0.5f, 0.5f, -1.125f, -0.125f, 0.25f, 0},  {0, -0.5f, -1.25f, 0, 1.25f, 0.5f, 0},
  {0, 0.5f, 0.75f, -1, -0.75f, 0.5f, 0},        {0, 1, 0, -1.25f, 0, 0.25f, 0},
  {0, 0.5f, 1, -0.625f, -1.25f, 0.125f, 0.25f},
};
static const float tz_toom_a4[4][7] = {
  {1, 1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, -0.5f, 0}, {0, 1, 1, 4, 4, 0.25f, 0}, {0, 1, -1, 8, -8, -0.125f, 1},
};
// Points 0, 1, -1 and infinity: F(2, 3) and F(3, 2), whose inputs are transformed alike.
static const float tz_toom_b4p[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}};
static const float tz_toom_a2x3[2][4] = {{1, 1, 1, 0}, {0, 1, -1, 1}};
static const float tz_toom_a3x2[3][4] = {{1, 1, 1, 0}, {0, 1, -1, 0}, {0, 1, 1, 1}};

// The columns of 4 x 4 sorted tiles.
static const unsigned char tz_toom_sorted[16] = {3, 4, 5, 12, 6, 7, 8, 13, 9, 10, 11, 14, 0, 1, 2, 15};

#endif
