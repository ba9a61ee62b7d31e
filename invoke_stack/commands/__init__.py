"""The work behind each verb, without Invoke or Rich."""
