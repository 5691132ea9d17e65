"""What is wrong, and how it is told: values and rules, without input and output."""
