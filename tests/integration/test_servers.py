def test_both_servers_answer(postgres, redis_server, database):
    with postgres.connect(database) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (database,)
    assert redis_server.client().ping() is True
