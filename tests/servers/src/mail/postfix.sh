# Makes the queue's directories, then becomes the master, which stays in the foreground and in this session.
/usr/sbin/postfix -c @DIRECTORY@/etc check
exec /usr/lib/postfix/sbin/master -c @DIRECTORY@/etc -s
