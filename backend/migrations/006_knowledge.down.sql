DROP TABLE chatbot_turns, chatbot_sessions, kb_chunks;
