"""What fine-tuning changed in the parameters, and where (paper section 6, Tables 3, 9, 10): two models -> metrics."""
