"""How reliable a mastery measurement is: retest, posterior, variance, exposure, calibration."""
