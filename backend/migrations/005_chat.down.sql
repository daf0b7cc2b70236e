DROP FUNCTION send_message;
DROP TABLE notifications, messages, room_members, rooms;
ALTER TABLE products DROP COLUMN image_file_id;
DROP TABLE files;
